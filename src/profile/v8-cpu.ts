/**
 * V8's CPU profile, as `node --cpu-prof`, the inspector's Profiler.stop and Chrome write it
 * (https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile).
 */
import { ProfileBuilder } from "./builder.ts";
import type { Profile, ValueType } from "./model.ts";
import { malformed } from "./protobuf.ts";
import { scanV8Cpu, type V8CpuTables } from "./v8-cpu-tables.ts";
import { type FunctionMapper, V8Functions } from "./v8-functions.ts";

export interface V8CpuOptions {
  /** From the position in the code that ran to the position in its source (source maps). */
  readonly mapper?: FunctionMapper | undefined;
  /** When the profile began, nanoseconds since 1970: V8's own clock begins at boot. */
  readonly timeNanos?: bigint | undefined;
  /** The program, for the header of reports. */
  readonly program?: string | undefined;
  readonly comments?: readonly string[] | undefined;
}

const cpu: ValueType = { type: "cpu", unit: "nanoseconds" };

/**
 * Sample types: samples, cpu (all but idle time) and wall. Every sample keeps its time. V8 records the executing line
 * of leaf functions only: for their callers the line is that of the definition. Throws MALFORMED.
 */
export function decodeV8Cpu(bytes: Uint8Array, options: V8CpuOptions = {}): Profile {
  return new V8CpuReader(scanV8Cpu(bytes), options).read();
}

class V8CpuReader {
  private readonly tables: V8CpuTables;
  private readonly builder: ProfileBuilder;
  private readonly functions: V8Functions;
  private readonly isRoot: readonly boolean[];
  private readonly isIdle: readonly boolean[];
  /** The stack with each node's frame on top, at its definition; -1 until it is asked for. */
  private readonly stacks: Int32Array;
  /** Where each node is in its positionTicks, and how many of that line are left. */
  private readonly tickAt: Int32Array;
  private readonly tickLeft: Int32Array;
  /** The stack of each node's current line, -1 until it is asked for. */
  private readonly lineStack: Int32Array;

  constructor(tables: V8CpuTables, options: V8CpuOptions) {
    this.tables = tables;
    const sampleTypes = [{ type: "samples", unit: "count" }, cpu, { type: "wall", unit: "nanoseconds" }];
    this.builder = new ProfileBuilder({
      sampleTypes,
      defaultType: 1,
      periodType: cpu,
      period: samplingPeriod(tables.deltas),
      timeNanos: options.timeNanos ?? 0n,
      durationNanos: Math.max(0, (tables.endTime - tables.startTime) * 1000),
      timed: true,
      comments: options.comments ?? [],
    });
    if (options.program) this.builder.mapping({ file: options.program, hasFunctions: true, hasFilenames: true });
    this.functions = new V8Functions(this.builder, options.mapper);
    for (const callFrame of tables.callFrames) this.functions.see(callFrame);
    this.functions.settle();
    this.isRoot = tables.callFrames.map((frame) => this.functions.isRoot(frame));
    this.isIdle = tables.callFrames.map((frame) => this.functions.isIdle(frame));
    this.stacks = new Int32Array(tables.count).fill(-1);
    this.tickAt = tables.tickStart.slice(0, tables.count);
    this.tickLeft = new Int32Array(tables.count);
    this.lineStack = new Int32Array(tables.count).fill(-1);
  }

  read(): Profile {
    const { samples, deltas, frame } = this.tables;
    const period = samplingPeriod(deltas);
    const end = this.builder.durationNanos;
    const values = [1, 0, 0];
    let time = 0;
    for (let i = 0; i < samples.length; i++) {
      const node = samples[i]!;
      time += i < deltas.length ? deltas[i]! * 1000 : period;
      // A sample stands for the time until the next one; the last one for that until the end, within reason.
      const next = i + 1 < deltas.length ? deltas[i + 1]! * 1000 : Math.min(end - time, 2 * period);
      values[2] = Math.max(0, next);
      values[1] = this.isIdle[frame[node]!] ? 0 : values[2];
      this.builder.add(this.nextStack(node), values, 0, time);
    }
    return this.builder.finish();
  }

  /** The stack of a node's frame, called from where its callers are defined. */
  private stackOf(node: number): number {
    const { parent, frame, callFrames, count } = this.tables;
    const path: number[] = [];
    let at = node;
    while (at >= 0 && this.stacks[at]! < 0) {
      if (path.length > count) throw malformed("the nodes are not a tree");
      path.push(at);
      at = parent[at]!;
    }
    let stack = at < 0 ? 0 : this.stacks[at]!;
    for (const step of path.reverse()) {
      if (!this.isRoot[frame[step]!]) {
        stack = this.builder.push(stack, this.functions.location(callFrames[frame[step]!]));
      }
      this.stacks[step] = stack;
    }
    return stack;
  }

  /**
   * The stack of a node's next sample. V8 counts how often each of its lines ran, not when: lines are given out in the
   * order of the ticks, as often as each was counted.
   */
  private nextStack(node: number): number {
    const { tickStart } = this.tables;
    const first = tickStart[node]!;
    const last = tickStart[node + 1]! - 1;
    if (last < first || this.isRoot[this.tables.frame[node]!]) return this.stackOf(node);
    if (this.lineStack[node]! < 0) this.useLine(node, first);
    while (this.tickLeft[node]! <= 0 && this.tickAt[node]! < last) this.useLine(node, this.tickAt[node]! + 1);
    this.tickLeft[node]!--;
    return this.lineStack[node]!;
  }

  private useLine(node: number, tick: number): void {
    const { parent, frame, callFrames, tickLine, tickCount } = this.tables;
    this.tickAt[node] = tick;
    this.tickLeft[node] = tickCount[tick]!;
    const caller = parent[node]! < 0 ? 0 : this.stackOf(parent[node]!);
    const location = this.functions.location(callFrames[frame[node]!], tickLine[tick]!);
    this.lineStack[node] = this.builder.push(caller, location);
  }
}

/** The median of the deltas, nanoseconds: V8 does not record the interval that was asked for. */
function samplingPeriod(deltas: Float64Array): number {
  const some = deltas.slice(1, 10_001).sort();
  return (some[some.length >> 1] ?? 1000) * 1000;
}
