/** Writes V8's CPU profile (.cpuprofile), which Chrome's and VS Code's profile views open. */

import { pathToFileURL } from "node:url";
import { Float64Column, Int32Column } from "../base/columns.ts";
import { PairTable } from "../base/pair-table.ts";
import { ChunkWriter } from "./chunk-writer.ts";
import { type FrameTree, frameTree } from "./frame-tree.ts";
import type { Profile } from "./model.ts";
import { v8Name } from "./v8-functions.ts";

/**
 * With times: every sample where it was. Without: each row once, one after the other, each as long as its value, so
 * that totals are right though the order means nothing. Values in other units than time count as microseconds.
 */
export function* v8CpuChunks(
  profile: Profile,
  type: number,
  onProgress: (part: number) => void = () => {},
): Generator<Buffer> {
  const tree = frameTree(profile, "function");
  const line = new Timeline(profile, type);
  const out = new ChunkWriter();
  const nodes = new NodeWriter(profile, tree, line.rows);
  out.text('{"nodes":[');
  for (let node = 0; node < tree.count; node++) {
    if (node > 0) out.byte(44);
    nodes.write(out, node);
    if (out.full) {
      yield out.take();
      onProgress((0.5 * node) / tree.count);
    }
  }
  // V8's clock has no epoch; ours is 1970 where it is known.
  const start = Number(profile.timeNanos / 1000n);
  out.text(`],"startTime":${start},"endTime":${start + line.end},"samples":[`);
  for (let i = 0; i < line.rows.length; i++) {
    if (i > 0) out.byte(44);
    out.integer(tree.nodeOfStack[profile.samples.stack[line.rows.data[i]!]!]! + 1);
    if (out.full) yield out.take();
  }
  out.text('],"timeDeltas":[');
  for (let i = 0; i < line.deltas.length; i++) {
    if (i > 0) out.byte(44);
    out.integer(line.deltas.data[i]!);
    if (out.full) yield out.take();
  }
  out.text("]}\n");
  yield out.take();
}

/** Which rows are written, in order, and the microseconds before each. */
class Timeline {
  readonly rows: Int32Column = new Int32Column();
  readonly deltas: Float64Column = new Float64Column();
  end = 0;

  constructor(profile: Profile, type: number) {
    const { samples } = profile;
    if (samples.time) this.fromTimes(samples.time, profile.durationNanos);
    else this.fromValues(samples.values[type]!, profile.sampleTypes[type]!.unit);
  }

  private fromTimes(time: Float64Array, duration: number): void {
    let before = 0;
    for (let row = 0; row < time.length; row++) {
      const now = Math.round(time[row]! / 1000);
      this.rows.push(row);
      this.deltas.push(now - before);
      before = now;
    }
    this.end = Math.max(before, Math.round(duration / 1000));
  }

  /** A sample lasts until the next one: the delta of each is the value of the one before it. */
  private fromValues(values: Float64Array, unit: string): void {
    const scale = { nanoseconds: 1e-3, milliseconds: 1e3, seconds: 1e6 }[unit] ?? 1;
    let before = 0;
    for (let row = 0; row < values.length; row++) {
      const length = Math.round(values[row]! * scale);
      if (length <= 0) continue;
      this.rows.push(row);
      this.deltas.push(before);
      before = length;
      this.end += length;
    }
  }
}

class NodeWriter {
  private readonly profile: Profile;
  private readonly tree: FrameTree;
  private readonly frames: Buffer[];
  /** First child and next sibling of each node, -1 for none. */
  private readonly child: Int32Array;
  private readonly sibling: Int32Array;
  private readonly hits: Float64Array;
  /** (node, line) pairs of samples, their counts, and a chain of the pairs of each node. */
  private readonly ticks = new PairTable();
  private readonly tickCounts = new Float64Column();
  private readonly nextTick = new Int32Column();
  private readonly firstTick: Int32Array;
  private readonly lastTick: Int32Array;

  constructor(profile: Profile, tree: FrameTree, rows: Int32Column) {
    this.profile = profile;
    this.tree = tree;
    this.frames = tree.names.map((_, id) => Buffer.from(JSON.stringify(callFrame(profile, tree, id))));
    this.child = new Int32Array(tree.count).fill(-1);
    this.sibling = new Int32Array(tree.count).fill(-1);
    for (let node = tree.count - 1; node > 0; node--) {
      this.sibling[node] = this.child[tree.parent[node]!]!;
      this.child[tree.parent[node]!] = node;
    }
    this.hits = new Float64Array(tree.count);
    this.firstTick = new Int32Array(tree.count).fill(-1);
    this.lastTick = new Int32Array(tree.count).fill(-1);
    for (const row of rows.view()) this.hit(row);
  }

  private hit(row: number): void {
    const { profile, tree } = this;
    const { locations, stacks } = profile;
    const stack = profile.samples.stack[row]!;
    const node = tree.nodeOfStack[stack]!;
    this.hits[node]!++;
    if (stack === 0) return;
    const location = stacks.location[stack]!;
    const first = locations.firstLine[location]!;
    const line = first < locations.firstLine[location + 1]! ? locations.lineNumber[first]! : 0;
    if (line <= 0) return;
    const tick = this.ticks.intern(node, line);
    if (tick === this.tickCounts.length) {
      this.tickCounts.push(0);
      this.nextTick.push(-1);
      // In order of appearance: a reader hands lines to samples in the order of the ticks.
      if (this.firstTick[node]! < 0) this.firstTick[node] = tick;
      else this.nextTick.data[this.lastTick[node]!] = tick;
      this.lastTick[node] = tick;
    }
    this.tickCounts.data[tick]!++;
  }

  write(out: ChunkWriter, node: number): void {
    out.text('{"id":');
    out.integer(node + 1);
    out.text(',"callFrame":');
    out.bytes(node === 0 ? rootFrame : this.frames[this.tree.frame[node]!]!);
    out.text(',"hitCount":');
    out.integer(this.hits[node]!);
    if (this.child[node]! >= 0) {
      out.text(',"children":[');
      for (let child = this.child[node]!; child >= 0; child = this.sibling[child]!) {
        if (child !== this.child[node]) out.byte(44);
        out.integer(child + 1);
      }
      out.byte(93);
    }
    if (this.firstTick[node]! >= 0) this.writeTicks(out, node);
    out.byte(125);
  }

  private writeTicks(out: ChunkWriter, node: number): void {
    out.text(',"positionTicks":[');
    for (let tick = this.firstTick[node]!; tick >= 0; tick = this.nextTick.data[tick]!) {
      if (tick !== this.firstTick[node]) out.byte(44);
      out.text(`{"line":${this.ticks.second.data[tick]},"ticks":${this.tickCounts.data[tick]}}`);
    }
    out.byte(93);
  }
}

const rootFrame = Buffer.from('{"functionName":"(root)","scriptId":"0","url":"","lineNumber":-1,"columnNumber":-1}');

/** Frame ids of a tree by function are function ids as long as there is a function; the rest are unnamed addresses. */
function callFrame(profile: Profile, tree: FrameTree, id: number): Record<string, unknown> {
  const name = tree.names[id]!;
  const system = id < profile.functions.count ? profile.functions.systemName[id]! : name;
  const file = tree.files[id]!;
  return {
    functionName: v8Name(name, system),
    scriptId: "0",
    url: file.startsWith("/") ? pathToFileURL(file).href : file,
    lineNumber: tree.lines[id]! - 1,
    columnNumber: tree.columns[id]! - 1,
  };
}
