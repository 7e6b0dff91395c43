/**
 * V8's CPU profile, as `node --cpu-prof`, the inspector's Profiler.stop and Chrome write it
 * (https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile).
 */
import { ProfileBuilder } from "./builder.ts";
import type { Profile, ValueType } from "./model.ts";
import { malformed } from "./protobuf.ts";
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

interface Node {
  readonly id: number;
  readonly callFrame: unknown;
  readonly parent: number | undefined;
  readonly children: readonly number[];
  readonly ticks: readonly { line: number; ticks: number }[];
}

/**
 * Sample types: samples, cpu (all but idle time) and wall. Every sample keeps its time. V8 records the executing line
 * of leaf functions only: for their callers the line is that of the definition. Throws MALFORMED.
 */
export function decodeV8Cpu(json: unknown, options: V8CpuOptions = {}): Profile {
  return new V8CpuReader(json, options).read();
}

/** Whether parsed JSON looks like a CPU profile of V8. */
export function isV8Cpu(json: unknown): boolean {
  return isObject(json) && Array.isArray(json["nodes"]) && Array.isArray(json["samples"]);
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

class V8CpuReader {
  private readonly builder: ProfileBuilder;
  private readonly functions: V8Functions;
  private readonly nodes = new Map<number, Node>();
  private readonly json: Record<string, unknown>;
  /** Stack of each node's callers, and the lines still to be given to samples of the node. */
  private readonly callers = new Map<number, number>();

  constructor(json: unknown, options: V8CpuOptions) {
    if (!isObject(json) || !isV8Cpu(json)) throw malformed("no nodes and samples; is it a V8 CPU profile?");
    this.json = json;
    const sampleTypes = [{ type: "samples", unit: "count" }, cpu, { type: "wall", unit: "nanoseconds" }];
    this.builder = new ProfileBuilder({
      sampleTypes,
      defaultType: 1,
      periodType: cpu,
      period: samplingPeriod(json),
      timeNanos: options.timeNanos ?? 0n,
      durationNanos: Math.max(0, (numberOf(json["endTime"]) - numberOf(json["startTime"])) * 1000),
      timed: true,
      comments: options.comments ?? [],
    });
    if (options.program) this.builder.mapping({ file: options.program, hasFunctions: true, hasFilenames: true });
    this.functions = new V8Functions(this.builder, options.mapper);
  }

  read(): Profile {
    this.readNodes();
    this.functions.settle();
    const leaves = this.leafStacks();
    this.readSamples(leaves);
    return this.builder.finish();
  }

  private readNodes(): void {
    const parents = new Map<number, number>();
    const raw = this.json["nodes"] as unknown[];
    for (const node of raw) {
      if (!isObject(node)) throw malformed("a node is not an object");
      const children = Array.isArray(node["children"]) ? node["children"] : [];
      for (const child of children) parents.set(numberOf(child), numberOf(node["id"]));
    }
    for (const node of raw as Record<string, unknown>[]) {
      const id = numberOf(node["id"]);
      this.functions.see(node["callFrame"]);
      this.nodes.set(id, {
        id,
        callFrame: node["callFrame"],
        // DevTools' trimmed files carry `parent` instead of `children`.
        parent: parents.get(id) ?? (typeof node["parent"] === "number" ? node["parent"] : undefined),
        children: [],
        ticks: ticksOf(node["positionTicks"]),
      });
    }
  }

  /** The stack that a node's frame is called from, with every caller at its definition line. */
  private callersOf(id: number): number {
    const path: Node[] = [];
    let at = this.nodes.get(id)?.parent;
    let stack = 0;
    while (at !== undefined) {
      const known = this.callers.get(at);
      if (known !== undefined) {
        stack = known;
        break;
      }
      const node = this.nodes.get(at);
      if (!node || path.length > this.nodes.size) throw malformed("the nodes are not a tree");
      path.push(node);
      at = node.parent;
    }
    // callers[x] is the stack with x itself on top.
    for (const node of path.reverse()) {
      if (!this.functions.isRoot(node.callFrame)) {
        stack = this.builder.push(stack, this.functions.location(node.callFrame));
      }
      this.callers.set(node.id, stack);
    }
    return stack;
  }

  /** For each node a function that gives the stacks of its samples, one by one, following its positionTicks. */
  private leafStacks(): (id: number) => number {
    const cursors = new Map<number, LineCursor>();
    return (id) => {
      let cursor = cursors.get(id);
      if (!cursor) {
        const node = this.nodes.get(id);
        if (!node) throw malformed(`a sample names node ${id}, which is not there`);
        cursor = new LineCursor(node, this.callersOf(id), this.functions, this.builder);
        cursors.set(id, cursor);
      }
      return cursor.next();
    };
  }

  private readSamples(leaf: (id: number) => number): void {
    const ids = this.json["samples"] as unknown[];
    const deltas = Array.isArray(this.json["timeDeltas"]) ? (this.json["timeDeltas"] as unknown[]) : [];
    const idle = new Set([...this.nodes.values()].filter((node) => isIdle(node.callFrame)).map((node) => node.id));
    const period = samplingPeriod(this.json);
    const end = this.builder.durationNanos;
    const values = [1, 0, 0];
    let time = 0;
    for (let i = 0; i < ids.length; i++) {
      const id = numberOf(ids[i]);
      time += i < deltas.length ? numberOf(deltas[i]) * 1000 : period;
      // A sample stands for the time until the next one; the last one for that until the end, within reason.
      const next = i + 1 < deltas.length ? numberOf(deltas[i + 1]) * 1000 : Math.min(end - time, 2 * period);
      values[2] = Math.max(0, next);
      values[1] = idle.has(id) ? 0 : values[2];
      this.builder.add(leaf(id), values, 0, time);
    }
  }
}

/** Gives out a node's lines as often as V8 counted each; which sample of the node had which line is not recorded. */
class LineCursor {
  private readonly stacks: number[] = [];
  private readonly left: number[] = [];
  private at = 0;

  constructor(node: Node, callers: number, functions: V8Functions, builder: ProfileBuilder) {
    if (functions.isRoot(node.callFrame)) {
      this.stacks.push(callers);
      this.left.push(0);
      return;
    }
    for (const { line, ticks } of node.ticks) {
      this.stacks.push(builder.push(callers, functions.location(node.callFrame, line)));
      this.left.push(ticks);
    }
    if (this.stacks.length === 0) {
      this.stacks.push(builder.push(callers, functions.location(node.callFrame)));
      this.left.push(0);
    }
  }

  next(): number {
    while (this.at < this.stacks.length - 1 && this.left[this.at]! <= 0) this.at++;
    this.left[this.at]!--;
    return this.stacks[this.at]!;
  }
}

/** The median of the deltas, nanoseconds: V8 does not record the interval that was asked for. */
function samplingPeriod(json: Record<string, unknown>): number {
  const deltas = Array.isArray(json["timeDeltas"]) ? json["timeDeltas"] : [];
  const some = Float64Array.from(deltas.slice(1, 10_001), numberOf).sort();
  return (some[some.length >> 1] ?? 1000) * 1000;
}

function isIdle(callFrame: unknown): boolean {
  return isObject(callFrame) && callFrame["functionName"] === "(idle)" && !callFrame["url"];
}

export function numberOf(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw malformed("a number is missing");
  return value;
}

function ticksOf(value: unknown): { line: number; ticks: number }[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isObject).map((tick) => ({ line: numberOf(tick["line"]), ticks: numberOf(tick["ticks"]) }));
}
