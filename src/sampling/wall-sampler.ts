/**
 * Where all goroutines of a process are, waiting ones above all, by reading memory while it runs: nothing in the target,
 * no pause, all cost here. A goroutine that stands where it stood at the last sample costs one comparison; its time is
 * added up in a column and goes into the profile when it moves.
 */
import type { Nanoseconds } from "../base/units.ts";
import type { GoroutineReader, GoroutineVisitor } from "../go/goroutine-reader.ts";
import { GoroutineTable, goroutineStatus } from "../go/goroutine-table.ts";
import type { StackTree } from "../go/stack-tree.ts";
import type { LabelSetId, ProfileBuilder, StackId } from "../profile/builder.ts";
import type { CodeMap } from "./code.ts";

export interface WallOptions {
  readonly reader: GoroutineReader;
  readonly builder: ProfileBuilder;
  readonly code: CodeMap;
  /** Leave out goroutines on a CPU: perf events tell of those. */
  readonly waitingOnly: boolean;
  /** Leave out the runtime's own goroutines. */
  readonly userOnly: boolean;
}

export interface WallReport {
  readonly samples: number;
  /** Goroutines at the last sample. */
  readonly goroutines: number;
  /** Readings of a goroutine that moved each time it was read: they are in the profile under a frame that says so. */
  readonly inconsistent: number;
  readonly readings: number;
}

/** A place that did not change is believed this often before its stack is read again: the frames below could differ. */
const believed = 32;

export class WallSampler implements GoroutineVisitor {
  readonly #options: WallOptions;
  #table: GoroutineTable;
  /** What each row was at the last sample, and the time not yet added to the profile. */
  #id = new Float64Array(0);
  #sp = new Float64Array(0);
  #pc = new Float64Array(0);
  #state = new Uint16Array(0);
  #stack = new Int32Array(0);
  #labels = new Int32Array(0);
  #weight = new Float64Array(0);
  #count = new Float64Array(0);
  #age = new Uint8Array(0);
  readonly #values = [0, 0];
  #nodes = new Map<number, StackId>();
  #tree: StackTree | undefined;
  readonly #stateLabels = new Map<string, LabelSetId>();
  #elapsed: Nanoseconds = 0;
  #last: Nanoseconds | undefined;
  #samples = 0;
  #readings = 0;
  #goroutines = 0;
  #inconsistent = 0;

  constructor(options: WallOptions) {
    this.#options = options;
    this.#table = new GoroutineTable(options.reader.layout, 0);
  }

  get report(): WallReport {
    return {
      samples: this.#samples,
      goroutines: this.#goroutines,
      inconsistent: this.#inconsistent,
      readings: this.#readings,
    };
  }

  /** Takes one sample. The first one only learns where everything stands. Throws NO_PROCESS. */
  sample(): void {
    const { reader } = this.#options;
    const now = Number(process.hrtime.bigint());
    this.#elapsed = this.#last === undefined ? 0 : now - this.#last;
    this.#last = now;
    const addresses = reader.addresses();
    this.#grow(addresses.length);
    this.#goroutines = 0;
    reader.read(this.#table, addresses, 0, addresses.length, 0, this);
    this.#samples++;
  }

  /** Adds the time that is not yet in the profile. */
  flush(): void {
    for (let row = 0; row < this.#weight.length; row++) this.#settle(row);
  }

  wants(row: number): boolean {
    const table = this.#table;
    const state = table.state(row);
    if (this.#options.userOnly && this.#options.reader.isSystem(table, row)) return false;
    if (this.#options.waitingOnly && state === goroutineStatus.running) {
      this.#settle(row);
      this.#id[row] = 0;
      return false;
    }
    this.#goroutines++;
    this.#readings++;
    const stands =
      this.#id[row] === table.id[row] &&
      this.#sp[row] === table.sp[row] &&
      this.#pc[row] === table.pc[row] &&
      this.#state[row] === state &&
      state !== goroutineStatus.running &&
      this.#age[row]!++ < believed;
    if (!stands) return true;
    this.#weight[row]! += this.#elapsed;
    this.#count[row]!++;
    return false;
  }

  stack(row: number, node: number): void {
    this.#moved(row, this.#stackOf(node), this.#word(row));
  }

  noStack(row: number, why: "running" | "inconsistent"): void {
    if (why === "inconsistent") this.#inconsistent++;
    const { builder } = this.#options;
    const text = why === "running" ? "[on a CPU: stack not in memory]" : "[moved while it was read]";
    const start = this.#options.reader.code.functionAt(this.#table.startPc[row]!);
    const frames = [builder.location(builder.function(text))];
    if (start) frames.push(builder.location(builder.function(start.name)));
    this.#moved(row, builder.stack(frames), why === "running" ? "running" : this.#word(row));
  }

  /** The time since the last sample belongs to where the goroutine is now: it is what was seen. */
  #moved(row: number, stack: StackId, state: string): void {
    this.#settle(row);
    const table = this.#table;
    this.#id[row] = table.id[row]!;
    this.#sp[row] = table.sp[row]!;
    this.#pc[row] = table.pc[row]!;
    this.#state[row] = table.state(row);
    this.#stack[row] = stack;
    this.#labels[row] = this.#labelsOf(state);
    this.#weight[row] = this.#elapsed;
    this.#count[row] = this.#elapsed === 0 ? 0 : 1;
    this.#age[row] = 0;
  }

  #settle(row: number): void {
    if (this.#weight[row] === 0) return;
    this.#values[0] = this.#count[row]!;
    this.#values[1] = this.#weight[row]!;
    this.#options.builder.add(this.#stack[row]!, this.#values, this.#labels[row]!);
    this.#weight[row] = 0;
    this.#count[row] = 0;
  }

  #word(row: number): string {
    const { reader } = this.#options;
    const state = this.#table.state(row);
    const reason = state === goroutineStatus.waiting ? reader.reasonWords[this.#table.waitReason[row]!] : undefined;
    return reason || reader.statusWords[state] || "unknown";
  }

  #labelsOf(state: string): LabelSetId {
    let id = this.#stateLabels.get(state);
    if (id === undefined) {
      id = this.#options.builder.labels([{ key: "state", text: state }]);
      this.#stateLabels.set(state, id);
    }
    return id;
  }

  #stackOf(node: number): StackId {
    const { reader, code, builder } = this.#options;
    if (this.#tree !== reader.tree) {
      // The reader threw its tree away because it grew too large: its nodes mean nothing now.
      this.#tree = reader.tree;
      this.#nodes = new Map();
    }
    let stack = this.#nodes.get(node);
    if (stack === undefined) {
      const locations = reader.tree.stack(node).map((point) => code.location(point.pc, !point.exact));
      stack = builder.stack(locations.filter((location) => location >= 0));
      this.#nodes.set(node, stack);
    }
    return stack;
  }

  #grow(rows: number): void {
    if (rows <= this.#table.capacity) return;
    const capacity = Math.ceil(rows * 1.5);
    this.#table = new GoroutineTable(this.#options.reader.layout, capacity);
    this.#id = copyInto(new Float64Array(capacity), this.#id);
    this.#sp = copyInto(new Float64Array(capacity), this.#sp);
    this.#pc = copyInto(new Float64Array(capacity), this.#pc);
    this.#state = copyInto(new Uint16Array(capacity), this.#state);
    this.#stack = copyInto(new Int32Array(capacity), this.#stack);
    this.#labels = copyInto(new Int32Array(capacity), this.#labels);
    this.#weight = copyInto(new Float64Array(capacity), this.#weight);
    this.#count = copyInto(new Float64Array(capacity), this.#count);
    this.#age = copyInto(new Uint8Array(capacity), this.#age);
  }
}

function copyInto<C extends Float64Array | Int32Array | Uint16Array | Uint8Array>(to: C, from: C): C {
  to.set(from);
  return to;
}
