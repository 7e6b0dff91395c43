/** What the runtime's own profiles say, as runtime/pprof would write them. */

import { ProcscopeError } from "../base/errors.ts";
import { formatBytes } from "../base/quantity.ts";
import type { Address } from "../base/units.ts";
import { CodeTable, type LogicalFrame } from "../go/code-table.ts";
import {
  type BucketStacks,
  type ContentionBuckets,
  readContentionBuckets,
  readMemoryBuckets,
  readThreadStacks,
} from "../go/profile-buckets.ts";
import type { GoRuntime } from "../go/runtime.ts";
import { type TracebackRules, tracebackRules } from "../go/traceback-rules.ts";
import { type BuilderOptions, ProfileBuilder, type StackId } from "../profile/builder.ts";
import type { Profile } from "../profile/model.ts";

export type BucketKind = "heap" | "allocs" | "block" | "mutex" | "threadcreate";

/** A profile and what a person must know about how it came about: the sampling rate first. */
export interface RuntimeProfile {
  readonly profile: Profile;
  readonly notes: readonly string[];
}

/**
 * One of the profiles that the runtime keeps, at this moment. `program` is the name of the program's file. Throws
 * UNSUPPORTED_TARGET where the program keeps no such profile, saying why.
 */
export function runtimeProfile(runtime: GoRuntime, kind: BucketKind, program: string): RuntimeProfile {
  // Profiles have the names of the linker, with type arguments.
  const rules: TracebackRules = { ...tracebackRules(runtime.version.minor), genericNames: "whole" };
  const code = new CodeTable(runtime, rules);
  switch (kind) {
    case "heap":
    case "allocs":
      return memoryProfile(runtime, code, kind, program);
    case "block":
    case "mutex":
      return contentionProfile(runtime, code, kind, program);
    default:
      return threadProfile(runtime, code, program);
  }
}

/** runtime/pprof writeHeapProto. */
function memoryProfile(runtime: GoRuntime, code: CodeTable, kind: "heap" | "allocs", program: string): RuntimeProfile {
  const buckets = readMemoryBuckets(runtime);
  const { rate } = buckets;
  if (buckets.count === 0 && rate === 0) {
    throw new ProcscopeError(
      "UNSUPPORTED_TARGET",
      `the program keeps no ${kind} profile: runtime.MemProfileRate is 0`,
      {
        hint: "the linker sets it in programs that never ask for their memory profile; import net/http/pprof or runtime/pprof to have one",
      },
    );
  }
  const maker = new ProfileMaker(runtime, code, program, {
    sampleTypes: [
      { type: "alloc_objects", unit: "count" },
      { type: "alloc_space", unit: "bytes" },
      { type: "inuse_objects", unit: "count" },
      { type: "inuse_space", unit: "bytes" },
    ],
    defaultType: kind === "heap" ? 3 : 1,
    periodType: { type: "space", unit: "bytes" },
    period: rate,
  });
  for (let row = 0; row < buckets.count; row++) {
    const objects = buckets.allocObjects[row]!;
    const bytes = buckets.allocBytes[row]!;
    const alloc = scaled(objects, bytes, rate);
    const inuse = scaled(objects - buckets.freeObjects[row]!, bytes - buckets.freeBytes[row]!, rate);
    const size = objects > 0 ? Math.trunc(bytes / objects) : 0;
    maker.add(buckets, row, [...alloc, ...inuse], { hideRuntime: true, size });
  }
  const every = rate === 1 ? "every allocation" : `one allocation for about ${formatBytes(rate)}`;
  return maker.finish([
    `${kind}: ${every} sampled (MemProfileRate ${rate}), ${buckets.count} buckets; values are scaled up`,
  ]);
}

/** runtime/pprof scaleHeapSample: what was sampled stands for more. */
function scaled(count: number, size: number, rate: number): [number, number] {
  if (count === 0 || size === 0) return [0, 0];
  if (rate <= 1) return [count, size];
  const scale = 1 / (1 - Math.exp(-(size / count) / rate));
  return [Math.trunc(count * scale), Math.trunc(size * scale)];
}

/** runtime/pprof printCountCycleProfile. */
function contentionProfile(
  runtime: GoRuntime,
  code: CodeTable,
  kind: "block" | "mutex",
  program: string,
): RuntimeProfile {
  const buckets = readContentionBuckets(runtime, kind);
  const { rate, ticksPerSecond } = buckets;
  const call = kind === "block" ? "SetBlockProfileRate" : "SetMutexProfileFraction";
  if (buckets.count === 0 && rate === 0) {
    throw new ProcscopeError("UNSUPPORTED_TARGET", `the program keeps no ${kind} profile: it is switched off`, {
      hint: `the program switches it on with runtime.${call}`,
    });
  }
  // The runtime measures its clock when somebody first asks; before that, ticks are all there is.
  const delay = { type: "delay", unit: ticksPerSecond === undefined ? "ticks" : "nanoseconds" };
  const maker = new ProfileMaker(runtime, code, program, {
    sampleTypes: [{ type: "contentions", unit: "count" }, delay],
    periodType: { type: "contentions", unit: "count" },
    period: 1,
  });
  const gigahertz = ticksPerSecond === undefined ? 1 : ticksPerSecond / 1e9;
  for (let row = 0; row < buckets.count; row++)
    maker.add(buckets, row, [buckets.events[row]!, Math.trunc(buckets.ticks[row]! / gigahertz)], {});
  return maker.finish([
    `${kind}: ${rateText(kind, buckets)}, ${buckets.count} buckets`,
    ...(ticksPerSecond === undefined
      ? ["the program has not measured its clock yet: delays are in ticks of the processor"]
      : []),
  ]);
}

function rateText(kind: "block" | "mutex", { rate, ticksPerSecond }: ContentionBuckets): string {
  if (rate === undefined) return "sampling rate not known";
  if (rate === 0) return "switched off by now";
  if (kind === "mutex") return `one of ${rate} contention events sampled (SetMutexProfileFraction)`;
  if (rate === 1) return "every blocking event sampled (SetBlockProfileRate 1)";
  const nanoseconds = ticksPerSecond && Math.round((rate * 1e9) / ticksPerSecond);
  return nanoseconds
    ? `one event for about ${nanoseconds} ns blocked (SetBlockProfileRate)`
    : `one event for ${rate} ticks blocked`;
}

function threadProfile(runtime: GoRuntime, code: CodeTable, program: string): RuntimeProfile {
  const stacks = readThreadStacks(runtime);
  const type = { type: "threadcreate", unit: "count" };
  const maker = new ProfileMaker(runtime, code, program, { sampleTypes: [type], periodType: type, period: 1 });
  for (let row = 0; row < stacks.count; row++) maker.add(stacks, row, [1], {});
  return maker.finish([`threadcreate: all ${stacks.count} threads that the runtime made`]);
}

const goexit = "runtime.goexit";
const runtimeName = /^(?:runtime\.|internal\/runtime\/)/;

class ProfileMaker {
  private readonly builder: ProfileBuilder;
  private readonly code: CodeTable;
  private readonly mappings: readonly { readonly text: Address; readonly etext: Address; readonly index: number }[];

  constructor(runtime: GoRuntime, code: CodeTable, program: string, options: BuilderOptions) {
    this.code = code;
    this.builder = new ProfileBuilder({ ...options, timeNanos: BigInt(Date.now()) * 1_000_000n });
    const has = { hasFunctions: true, hasFilenames: true, hasLineNumbers: true, hasInlineFrames: true };
    this.mappings = runtime.modules.map(({ text, etext }) => ({
      text,
      etext,
      index: this.builder.mapping({ start: BigInt(text), limit: BigInt(etext), file: program, ...has }),
    }));
  }

  /** `hideRuntime`: without the runtime's own innermost functions, unless there are no others. */
  add(
    stacks: BucketStacks,
    row: number,
    values: readonly number[],
    { hideRuntime = false, size = 0 }: { hideRuntime?: boolean; size?: number },
  ): void {
    const pcs = stacks.addresses.subarray(stacks.first[row]!, stacks.first[row + 1]!);
    let stack = hideRuntime ? this.stack(pcs.subarray(this.firstUserFrame(pcs))) : 0;
    if (stack === 0) stack = this.stack(pcs);
    const labels = size === 0 ? 0 : this.builder.labels([{ key: "bytes", number: size, unit: "" }]);
    this.builder.add(stack, values, labels);
  }

  finish(notes: readonly string[]): RuntimeProfile {
    this.builder.comments.push(...notes);
    return { profile: this.builder.finish(), notes };
  }

  private firstUserFrame(pcs: Float64Array): number {
    const index = pcs.findIndex((pc) => !runtimeName.test(this.frames(pc)[0]?.function ?? ""));
    return index < 0 ? 0 : index;
  }

  /**
   * runtime/pprof appendLocsForStack: calls that were inlined into one another share a location, whether they have an
   * address each or only the innermost has one.
   */
  private stack(pcs: Float64Array): StackId {
    const locations: number[] = [];
    let pending: LogicalFrame[] = [];
    let first: Address = 0;
    const flush = (): void => {
      if (pending.length > 0) locations.push(this.location(first, pending));
      pending = [];
    };
    for (let i = 0; i < pcs.length; i++) {
      const frames = this.frames(pcs[i]!);
      if (frames.length === 0) {
        flush();
        continue;
      }
      for (const frame of ownFrames(frames, pcs[i + 1])) {
        const last = pending.at(-1);
        if (last && !(last.inlined && last.entry === frame.entry && last.function !== frame.function)) flush();
        if (pending.length === 0) first = frame.pc;
        pending.push(frame);
      }
    }
    flush();
    return this.builder.stack(locations);
  }

  /** Frames at a return address, innermost first; none outside of Go code and at the end of a goroutine. */
  private frames(pc: Address): readonly LogicalFrame[] {
    const point = this.code.point(pc, false);
    if (point === undefined || point.fn.name === goexit) return [];
    return this.code.frames(point);
  }

  /** One place in the code: the inlined calls at it, innermost first, and the function that they were inlined into. */
  private location(pc: Address, frames: readonly LogicalFrame[]): number {
    const lines = frames.flatMap((frame) => [this.builder.function(frame.function, frame.file), frame.line, 0]);
    const mapping = this.mappings.find(({ text, etext }) => pc >= text && pc < etext)?.index ?? -1;
    return this.builder.inlinedLocation(lines, { address: pc, mapping });
  }
}

/**
 * The calls that an address stands for: the innermost one, and its inlined callers unless the next address stands for
 * them (runtime Frames.Next). Wrappers are left out as tracebacks leave them out.
 */
function ownFrames(frames: readonly LogicalFrame[], nextPc: Address | undefined): LogicalFrame[] {
  const own = [frames[0]!];
  for (const frame of frames.slice(1)) {
    if (nextPc === frame.pc + 1) break;
    if (!frame.wrapper || own.at(-1)!.panics) own.push(frame);
  }
  return own;
}
