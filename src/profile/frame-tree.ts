/**
 * A profile as a tree of frames for people: inlined functions are frames of their own, locations of the same function
 * are one. What flame graphs, folded text and tables are made of.
 */
import { Int32Column } from "../base/columns.ts";
import { PairTable } from "../base/pair-table.ts";
import type { Profile } from "./model.ts";

/** What makes two frames the same: their name, or their function (name, file and place of definition). */
export type FrameKey = "name" | "function";

export interface FrameTree {
  /** Of each frame id. */
  readonly names: readonly string[];
  readonly files: readonly string[];
  /** Line of the definition, 0 where it is not known. */
  readonly lines: readonly number[];
  readonly columns: readonly number[];
  /** Nodes: 0 is the root (parent and frame -1). A parent's id is less than its children's. */
  readonly count: number;
  readonly parent: Int32Array;
  readonly frame: Int32Array;
  /** 1 where the node's function was inlined into its caller in every stack. */
  readonly inlined: Uint8Array;
  /** The node of each stack of the profile. */
  readonly nodeOfStack: Int32Array;
}

export function frameTree(profile: Profile, key: FrameKey): FrameTree {
  const frames = new FrameTable(profile, key);
  const nodes = new PairTable();
  nodes.intern(-1, -1);
  const { parent, location, count } = profile.stacks;
  const inlined = new Int32Column();
  inlined.push(0);
  const nodeOfStack = new Int32Array(count);
  for (let stack = 1; stack < count; stack++) {
    let node = nodeOfStack[parent[stack]!]!;
    const { start, end } = frames.of(location[stack]!);
    // Outermost first: callers are parents.
    for (let at = end - 1; at >= start; at--) {
      node = nodes.intern(node, frames.entries.data[at]!);
      if (node === inlined.length) inlined.push(at < end - 1 ? 1 : 0);
      else if (at === end - 1) inlined.data[node] = 0;
    }
    nodeOfStack[stack] = node;
  }
  return {
    names: frames.names,
    files: frames.files,
    lines: frames.lines,
    columns: frames.columns,
    count: nodes.length,
    parent: nodes.first.view(),
    frame: nodes.second.view(),
    inlined: Uint8Array.from(inlined.view()),
    nodeOfStack,
  };
}

/** What ended at each node itself, for one sample type. */
export function selfValues(tree: FrameTree, profile: Profile, type: number): Float64Array {
  const self = new Float64Array(tree.count);
  const { stack, values, count } = profile.samples;
  const column = values[type]!;
  for (let row = 0; row < count; row++) self[tree.nodeOfStack[stack[row]!]!]! += column[row]!;
  return self;
}

/** What passed through each node: itself and everything below. */
export function totalValues(tree: FrameTree, self: Float64Array): Float64Array {
  const sum = Float64Array.from(self);
  for (let node = tree.count - 1; node > 0; node--) sum[tree.parent[node]!]! += sum[node]!;
  return sum;
}

/** The frames of each location, made once per location. */
class FrameTable {
  readonly names: string[] = [];
  readonly files: string[] = [];
  readonly lines: number[] = [];
  readonly columns: number[] = [];
  /** Frame ids of all locations, innermost first as in the profile. */
  readonly entries: Int32Column = new Int32Column();
  private readonly starts: Int32Array;
  private readonly ends: Int32Array;

  constructor(profile: Profile, key: FrameKey) {
    const { locations } = profile;
    const frameOfFunction = this.functionFrames(profile, key);
    this.starts = new Int32Array(locations.count);
    this.ends = new Int32Array(locations.count);
    for (let id = 0; id < locations.count; id++) {
      this.starts[id] = this.entries.length;
      for (let at = locations.firstLine[id]!; at < locations.firstLine[id + 1]!; at++) {
        this.entries.push(frameOfFunction[locations.lineFunction[at]!]!);
      }
      if (this.entries.length === this.starts[id]) this.entries.push(this.add(unknownName(profile, id), "", 0, 0));
      this.ends[id] = this.entries.length;
    }
  }

  of(location: number): { start: number; end: number } {
    return { start: this.starts[location]!, end: this.ends[location]! };
  }

  private functionFrames(profile: Profile, key: FrameKey): Int32Array {
    const { functions } = profile;
    const byName = new Map<string, number>();
    return Int32Array.from({ length: functions.count }, (_, id) => {
      const name = functions.name[id] || "(unnamed)";
      const known = key === "name" ? byName.get(name) : undefined;
      if (known !== undefined) return known;
      const frame = this.add(name, functions.filename[id]!, functions.startLine[id]!, functions.startColumn[id]!);
      byName.set(name, frame);
      return frame;
    });
  }

  private add(name: string, file: string, line: number, column: number): number {
    this.names.push(name);
    this.files.push(file);
    this.lines.push(line);
    this.columns.push(column);
    return this.names.length - 1;
  }
}

/** For a location that nobody could name: its file and address, as pprof writes it. */
function unknownName(profile: Profile, location: number): string {
  const address = `0x${profile.locations.address[location]!.toString(16)}`;
  const file = profile.mappings[profile.locations.mapping[location]!]?.file;
  return file ? `[${file.slice(file.lastIndexOf("/") + 1)}] ${address}` : address;
}
