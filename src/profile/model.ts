/**
 * The one profile model: what every reader makes and every encoder takes. Tables of columns, as in pprof's profile.proto
 * (https://github.com/google/pprof/blob/main/proto/profile.proto), but with stacks interned into a prefix tree, so
 * that a profile of a million samples is a handful of typed arrays.
 */
import type { Nanoseconds } from "../base/units.ts";

/** What a value of each sample measures: {type: "cpu", unit: "nanoseconds"}. */
export interface ValueType {
  readonly type: string;
  readonly unit: string;
}

/** Functions by id (the index into every column). */
export interface FunctionTable {
  readonly count: number;
  readonly name: readonly string[];
  /** The linker's name where it differs from the name for people, else the same. */
  readonly systemName: readonly string[];
  readonly filename: readonly string[];
  /** Line of the definition, 0 where it is not known. */
  readonly startLine: Int32Array;
  /** Column of the definition, from 1; 0 where it is not known. Tells functions of minified JavaScript apart. */
  readonly startColumn: Int32Array;
}

/**
 * Places in the code by id. A location has one line entry, or several where the compiler inlined: the entry at
 * `firstLine[id]` is the innermost function, the last one before `firstLine[id + 1]` the function that physically
 * holds the address (the order of profile.proto).
 */
export interface LocationTable {
  readonly count: number;
  /** 0 where the source has no addresses. */
  readonly address: BigUint64Array;
  /** Index into mappings, -1 for none. */
  readonly mapping: Int32Array;
  /** 1 where the address was replaced by that of another of the same function (profile.proto is_folded). */
  readonly folded: Uint8Array;
  readonly firstLine: Int32Array;
  readonly lineFunction: Int32Array;
  /** 0 where it is not known. */
  readonly lineNumber: Int32Array;
  readonly lineColumn: Int32Array;
}

/**
 * Stacks as a prefix tree: stack 0 is the empty stack, every other is `parent[id]` with `location[id]` called on top
 * of it. A parent's id is always less than its children's, so one loop downwards sums subtrees.
 */
export interface StackTable {
  readonly count: number;
  readonly parent: Int32Array;
  readonly location: Int32Array;
}

/** A label of a sample: text, or a number with a unit (may be ""). */
export type Label =
  | { readonly key: string; readonly text: string }
  | { readonly key: string; readonly number: number; readonly unit: string };

export interface SampleTable {
  readonly count: number;
  readonly stack: Int32Array;
  /** Index into labelSets; 0 is the empty set. */
  readonly labels: Int32Array;
  /** One column for each sample type. */
  readonly values: readonly Float64Array[];
  /** When each sample was taken, nanoseconds since the profile began; undefined where samples were added up. */
  readonly time: Float64Array | undefined;
}

/** A mapped file (profile.proto Mapping). */
export interface Mapping {
  readonly start: bigint;
  readonly limit: bigint;
  readonly offset: bigint;
  readonly file: string;
  readonly buildId: string;
  readonly hasFunctions: boolean;
  readonly hasFilenames: boolean;
  readonly hasLineNumbers: boolean;
  readonly hasInlineFrames: boolean;
}

/** Everything about a profile that is not a sample. */
export interface ProfileInfo {
  readonly sampleTypes: readonly ValueType[];
  /** The index of the sample type to show when none is asked for. */
  readonly defaultType: number;
  readonly periodType: ValueType | undefined;
  readonly period: number;
  /** When the profile began, nanoseconds since 1970; 0 where it is not known. */
  readonly timeNanos: bigint;
  readonly durationNanos: Nanoseconds;
  readonly comments: readonly string[];
  /** Regular expressions of frames that pprof drops and keeps; "" for none. */
  readonly dropFrames: string;
  readonly keepFrames: string;
  readonly docUrl: string;
  readonly mappings: readonly Mapping[];
}

export interface Profile extends ProfileInfo {
  readonly functions: FunctionTable;
  readonly locations: LocationTable;
  readonly stacks: StackTable;
  readonly labelSets: readonly (readonly Label[])[];
  readonly samples: SampleTable;
}

/** The sum of all samples for one sample type. */
export function total(profile: Profile, type = profile.defaultType): number {
  return profile.samples.values[type]?.reduce((sum, value) => sum + value, 0) ?? 0;
}

/** The index of the sample type named `name`; without a name the default. undefined where there is no such type. */
export function findSampleType(profile: ProfileInfo, name?: string): number | undefined {
  if (name === undefined) return profile.defaultType;
  const index = profile.sampleTypes.findIndex((type) => type.type === name);
  return index < 0 ? undefined : index;
}
