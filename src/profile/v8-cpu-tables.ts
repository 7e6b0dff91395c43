import { Float64Column, Int32Column } from "../base/columns.ts";
import { IdMap } from "./id-map.ts";
import { JsonScanner } from "./json-scanner.ts";
import { malformed } from "./protobuf.ts";

/** A .cpuprofile as columns: nodes by index, in the order of the file. */
export interface V8CpuTables {
  readonly count: number;
  /** Index of the caller's node, -1 for none. */
  readonly parent: Int32Array;
  /** Index into callFrames. */
  readonly frame: Int32Array;
  /** The different call frames, as JSON made them. */
  readonly callFrames: readonly unknown[];
  /** positionTicks of node i: tickLine and tickCount from tickStart[i] to tickStart[i + 1]. */
  readonly tickStart: Int32Array;
  readonly tickLine: Int32Array;
  readonly tickCount: Int32Array;
  /** The node of each sample. */
  readonly samples: Int32Array;
  /** Microseconds before each sample. */
  readonly deltas: Float64Array;
  readonly startTime: number;
  readonly endTime: number;
}

/** Reads the tables of a .cpuprofile. Throws MALFORMED. */
export function scanV8Cpu(bytes: Uint8Array): V8CpuTables {
  return new V8CpuScanner(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)).scan();
}

class V8CpuScanner {
  private readonly json: JsonScanner;
  private readonly nodes = new IdMap();
  private readonly frame = new Int32Column();
  private readonly callFrames: unknown[] = [];
  /** Call frames by their text: a profile repeats each of them for every stack that it is in. */
  private readonly frameIds = new Map<string, number>();
  private readonly tickStart = new Int32Column();
  private readonly tickLine = new Int32Column();
  private readonly tickCount = new Int32Column();
  /** Pairs of a node's index and the id of its child, to be resolved when all nodes are known. */
  private readonly parents = new Int32Column();
  private readonly children = new Float64Column();
  /** DevTools' trimmed files carry the parent's id instead of children; -1 for none. */
  private readonly parentIds = new Float64Column();
  private readonly samples = new Float64Column();
  private readonly deltas = new Float64Column();
  private readonly seen = new Set<string>();
  private startTime = 0;
  private endTime = 0;

  constructor(bytes: Buffer) {
    this.json = new JsonScanner(bytes);
  }

  scan(): V8CpuTables {
    const { json } = this;
    json.object((key) => {
      this.seen.add(key);
      if (key === "nodes") json.array(() => this.node());
      else if (key === "samples") json.array(() => this.samples.push(json.number()));
      else if (key === "timeDeltas") json.array(() => this.deltas.push(json.number()));
      else if (key === "startTime") this.startTime = json.number();
      else if (key === "endTime") this.endTime = json.number();
      else json.skip();
    });
    if (!this.seen.has("nodes") || !this.seen.has("samples")) {
      throw malformed("no nodes and samples; is it a V8 CPU profile?");
    }
    this.tickStart.push(this.tickLine.length);
    return {
      count: this.frame.length,
      parent: this.resolveParents(),
      frame: this.frame.view(),
      callFrames: this.callFrames,
      tickStart: this.tickStart.view(),
      tickLine: this.tickLine.view(),
      tickCount: this.tickCount.view(),
      samples: this.resolveSamples(),
      deltas: this.deltas.view(),
      startTime: this.startTime,
      endTime: this.endTime,
    };
  }

  private node(): void {
    const { json } = this;
    const index = this.frame.length;
    let id = Number.NaN;
    let frame = -1;
    let parentId = -1;
    this.tickStart.push(this.tickLine.length);
    json.object((key) => {
      if (key === "id") id = json.number();
      else if (key === "callFrame") frame = this.callFrame();
      else if (key === "parent") parentId = json.number();
      else if (key === "positionTicks") json.array(() => this.tick());
      else if (key === "children") {
        json.array(() => {
          this.parents.push(index);
          this.children.push(json.number());
        });
      } else json.skip();
    });
    if (Number.isNaN(id) || frame < 0) throw malformed("a node without id or callFrame");
    this.nodes.set(id, index);
    this.frame.push(frame);
    this.parentIds.push(parentId);
  }

  private callFrame(): number {
    const { json } = this;
    json.peek();
    const start = json.at;
    json.skip();
    const text = json.bytes.toString("latin1", start, json.at);
    let id = this.frameIds.get(text);
    if (id === undefined) {
      id = this.callFrames.push(json.parse(start)) - 1;
      this.frameIds.set(text, id);
    }
    return id;
  }

  private tick(): void {
    const { json } = this;
    let line = 0;
    let ticks = 0;
    json.object((key) => {
      if (key === "line") line = json.number();
      else if (key === "ticks") ticks = json.number();
      else json.skip();
    });
    this.tickLine.push(line);
    this.tickCount.push(ticks);
  }

  private resolveParents(): Int32Array {
    const parent = new Int32Array(this.frame.length).fill(-1);
    for (let node = 0; node < parent.length; node++) {
      if (this.parentIds.data[node]! >= 0) parent[node] = this.nodes.get(this.parentIds.data[node]!);
    }
    for (let i = 0; i < this.children.length; i++) {
      const child = this.nodes.get(this.children.data[i]!);
      if (child >= 0) parent[child] = this.parents.data[i]!;
    }
    return parent;
  }

  private resolveSamples(): Int32Array {
    const nodes = new Int32Array(this.samples.length);
    for (let i = 0; i < nodes.length; i++) {
      const id = this.samples.data[i]!;
      const node = this.nodes.get(id);
      if (node < 0) throw malformed(`a sample names node ${id}, which is not there`);
      nodes[i] = node;
    }
    return nodes;
  }
}
