import { Float64Column, Int32Column } from "../base/columns.ts";
import { assert } from "../base/errors.ts";
import { PairTable } from "../base/pair-table.ts";
import type { Label, Mapping, Profile, ProfileInfo, ValueType } from "./model.ts";

export type FunctionId = number;
export type LocationId = number;
export type StackId = number;
export type LabelSetId = number;

/** What is known before the first sample; the rest may be set on the builder at any time before finish(). */
export interface BuilderOptions extends Partial<Omit<ProfileInfo, "sampleTypes" | "mappings">> {
  readonly sampleTypes: readonly ValueType[];
  /**
   * Keep every sample with the time it was taken (add() then needs `time`). Otherwise samples with the same stack and
   * labels are added up.
   */
  readonly timed?: boolean;
}

const MAX_KEYED_LINE = 1 << 22;

/**
 * Builds a {@link Profile} row by row without an object per sample or frame:
 *
 *     const cpu = { type: "cpu", unit: "nanoseconds" };
 *     const builder = new ProfileBuilder({ sampleTypes: [{ type: "samples", unit: "count" }, cpu], periodType: cpu, period: 1e7 });
 *     const work = builder.location(builder.function("main.work", "/src/main.go", 10), 12);
 *     const main = builder.location(builder.function("main.main", "/src/main.go", 3), 5);
 *     builder.add(builder.stack([work, main]), [1, 1e7]); // leaf first
 *     const profile = builder.finish();
 *
 * Function, location, stack and label set ids are small integers; equal things get equal ids.
 */
export class ProfileBuilder {
  private readonly options: BuilderOptions;
  durationNanos: number;
  timeNanos: bigint;
  readonly comments: string[];

  private readonly functionIds = new Map<string, FunctionId>();
  private readonly names: string[] = [];
  private readonly systemNames: string[] = [];
  private readonly filenames: string[] = [];
  private readonly startLines = new Int32Column();
  private readonly startColumns = new Int32Column();

  /** Locations without an address by function and line: numeric keys, or text where the numbers do not fit. */
  private readonly plainLocations = new Map<number, LocationId>();
  private readonly otherLocations = new Map<string, LocationId>();
  private readonly addresses: bigint[] = [];
  private readonly locationMappings = new Int32Column();
  private readonly folded = new Int32Column();
  private readonly firstLines = new Int32Column();
  private readonly lineFunctions = new Int32Column();
  private readonly lineNumbers = new Int32Column();
  private readonly lineColumns = new Int32Column();

  private readonly mappings: Mapping[] = [];
  private readonly stackTree = new PairTable();
  private readonly labelSets: (readonly Label[])[] = [[]];
  private readonly labelSetIds = new Map<string, LabelSetId>([["", 0]]);

  /** Untimed: the sample rows by (stack, labels). Timed: unused. */
  private readonly sampleRows = new PairTable();
  private readonly sampleStacks = new Int32Column();
  private readonly sampleLabels = new Int32Column();
  private readonly times = new Float64Column();
  private readonly values: Float64Column[];

  constructor(options: BuilderOptions) {
    this.options = options;
    this.durationNanos = options.durationNanos ?? 0;
    this.timeNanos = options.timeNanos ?? 0n;
    this.comments = [...(options.comments ?? [])];
    this.values = options.sampleTypes.map(() => new Float64Column());
    this.stackTree.intern(-1, -1);
  }

  /** A function by name, file and line of definition (0 unknown). `systemName` is the linker's name where it differs. */
  function(name: string, filename = "", startLine = 0, systemName = name, startColumn = 0): FunctionId {
    const key = `${name}\0${filename}\0${startLine}\0${systemName}\0${startColumn}`;
    const known = this.functionIds.get(key);
    if (known !== undefined) return known;
    const id = this.names.push(name) - 1;
    this.systemNames.push(systemName);
    this.filenames.push(filename);
    this.startLines.push(startLine);
    this.startColumns.push(startColumn);
    this.functionIds.set(key, id);
    return id;
  }

  /** A mapped file; returns its index for {@link addressLocation}. */
  mapping(mapping: Partial<Mapping>): number {
    const zero = { start: 0n, limit: 0n, offset: 0n, file: "", buildId: "" };
    const has = { hasFunctions: false, hasFilenames: false, hasLineNumbers: false, hasInlineFrames: false };
    return this.mappings.push({ ...zero, ...has, ...mapping }) - 1;
  }

  /** A place known by its line only (0 unknown): no address, nothing inlined. */
  location(fn: FunctionId, line = 0, column = 0): LocationId {
    if (column === 0 && line >= 0 && line < MAX_KEYED_LINE) {
      const key = fn * MAX_KEYED_LINE + line;
      const known = this.plainLocations.get(key);
      if (known !== undefined) return known;
      const id = this.newLocation(0n, -1, 0);
      this.pushLine(fn, line, 0);
      this.plainLocations.set(key, id);
      return id;
    }
    return this.inlinedLocation([fn, line, column]);
  }

  /**
   * A place with inlined functions: `lines` is [function, line, column, function, line, column, …], innermost first.
   * `address` 0 means that the source has none.
   */
  inlinedLocation(
    lines: ArrayLike<number>,
    at: { address?: bigint | number; mapping?: number; folded?: boolean } = {},
  ): LocationId {
    const address = BigInt(at.address ?? 0);
    const mapping = at.mapping ?? -1;
    const key = `${address} ${mapping} ${at.folded ? 1 : 0} ${Array.prototype.join.call(lines, " ")}`;
    const known = this.otherLocations.get(key);
    if (known !== undefined) return known;
    const id = this.newLocation(address, mapping, at.folded ? 1 : 0);
    for (let i = 0; i + 2 < lines.length; i += 3) this.pushLine(lines[i]!, lines[i + 1]!, lines[i + 2]!);
    this.otherLocations.set(key, id);
    return id;
  }

  private newLocation(address: bigint, mapping: number, folded: number): LocationId {
    const id = this.addresses.push(BigInt.asUintN(64, address)) - 1;
    this.locationMappings.push(mapping);
    this.folded.push(folded);
    this.firstLines.push(this.lineFunctions.length);
    return id;
  }

  private pushLine(fn: number, line: number, column: number): void {
    assert(fn >= 0 && fn < this.names.length, `no function ${fn} in the profile`);
    this.lineFunctions.push(fn);
    this.lineNumbers.push(line);
    this.lineColumns.push(column);
  }

  /** The stack of `locations[0 … length)`, leaf first as collected. A reused buffer is fine. */
  stack(locations: ArrayLike<LocationId>, length = locations.length): StackId {
    let stack = 0;
    for (let i = length - 1; i >= 0; i--) stack = this.stackTree.intern(stack, locations[i]!);
    return stack;
  }

  /** `location` called on top of `parent` (0: the empty stack). For sources that are trees already. */
  push(parent: StackId, location: LocationId): StackId {
    return this.stackTree.intern(parent, location);
  }

  /** A set of labels, to be given to add() for every sample that carries them. */
  labels(labels: readonly Label[]): LabelSetId {
    if (labels.length === 0) return 0;
    const key = JSON.stringify(labels.map((l) => ("text" in l ? [l.key, l.text] : [l.key, l.number, l.unit])));
    const known = this.labelSetIds.get(key);
    if (known !== undefined) return known;
    const id = this.labelSets.push([...labels]) - 1;
    this.labelSetIds.set(key, id);
    return id;
  }

  /** Adds one sample: `values` has one number for each sample type and is not kept. */
  add(stack: StackId, values: ArrayLike<number>, labels: LabelSetId = 0, time = 0): void {
    if (this.options.timed) {
      this.newRow(stack, labels, values);
      this.times.push(time);
      return;
    }
    const row = this.sampleRows.intern(stack, labels);
    if (row === this.sampleStacks.length) this.newRow(stack, labels, values);
    else for (let i = 0; i < this.values.length; i++) this.values[i]!.data[row]! += values[i] ?? 0;
  }

  private newRow(stack: StackId, labels: LabelSetId, values: ArrayLike<number>): void {
    this.sampleStacks.push(stack);
    this.sampleLabels.push(labels);
    for (let i = 0; i < this.values.length; i++) this.values[i]!.push(values[i] ?? 0);
  }

  /** The profile so far. The builder must not be used afterwards: its columns are the profile's. */
  finish(): Profile {
    this.firstLines.push(this.lineFunctions.length);
    const { options } = this;
    return {
      sampleTypes: options.sampleTypes,
      defaultType: options.defaultType ?? Math.max(0, options.sampleTypes.length - 1),
      periodType: options.periodType,
      period: options.period ?? 0,
      timeNanos: this.timeNanos,
      durationNanos: this.durationNanos,
      comments: this.comments,
      dropFrames: options.dropFrames ?? "",
      keepFrames: options.keepFrames ?? "",
      docUrl: options.docUrl ?? "",
      mappings: this.mappings,
      functions: {
        count: this.names.length,
        name: this.names,
        systemName: this.systemNames,
        filename: this.filenames,
        startLine: this.startLines.view(),
        startColumn: this.startColumns.view(),
      },
      locations: this.finishLocations(),
      stacks: {
        count: this.stackTree.length,
        parent: this.stackTree.first.view(),
        location: this.stackTree.second.view(),
      },
      labelSets: this.labelSets,
      samples: {
        count: this.sampleStacks.length,
        stack: this.sampleStacks.view(),
        labels: this.sampleLabels.view(),
        values: this.values.map((column) => column.view()),
        time: options.timed ? this.times.view() : undefined,
      },
    };
  }

  private finishLocations(): Profile["locations"] {
    return {
      count: this.addresses.length,
      address: BigUint64Array.from(this.addresses),
      mapping: this.locationMappings.view(),
      folded: Uint8Array.from(this.folded.view()),
      firstLine: this.firstLines.view(),
      lineFunction: this.lineFunctions.view(),
      lineNumber: this.lineNumbers.view(),
      lineColumn: this.lineColumns.view(),
    };
  }
}
