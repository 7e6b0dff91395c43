import type { Seconds } from "../base/units.ts";
import type { LogicalFrame } from "../go/code-table.ts";
import { goroutineStatus } from "../go/goroutine-table.ts";
import { LabelReader, type Labels } from "../go/labels.ts";
import { type GoroutineSnapshot, noStack } from "../go/snapshot.ts";
import { sourceFrames } from "../go/source-frames.ts";
import { startFunction } from "../go/start-function.ts";
import { creatingFunction } from "../go/wrapped-function.ts";
import {
  type GoroutineSource,
  type GoroutineState,
  type Place,
  type StackFrame,
  unknownPlace,
} from "./goroutine-source.ts";

export const stateOfStatus: ReadonlyMap<number, GoroutineState> = new Map([
  [goroutineStatus.idle, "idle"],
  [goroutineStatus.runnable, "runnable"],
  [goroutineStatus.running, "running"],
  [goroutineStatus.syscall, "syscall"],
  [goroutineStatus.waiting, "waiting"],
  [goroutineStatus.copystack, "waiting"],
  [goroutineStatus.preempted, "waiting"],
  [goroutineStatus.leaked, "waiting"],
]);

/** Frame lists kept at a time: each distinct stack has one. */
const mostLists = 1 << 16;

/** A snapshot of a process as the views ask for it: rows are its goroutines in the runtime's order. */
export class LiveGoroutines implements GoroutineSource {
  readonly snapshot: GoroutineSnapshot;
  readonly takenAt: number;
  private readonly labelReader: LabelReader;
  private readonly frameLists = new Map<number, readonly LogicalFrame[]>();
  private readonly starts = new Map<number, Place>();
  private readonly creators = new Map<number, Place>();
  private readonly currents = new Map<number, Place>();

  constructor(snapshot: GoroutineSnapshot) {
    this.snapshot = snapshot;
    this.takenAt = snapshot.takenAt;
    this.labelReader = new LabelReader(snapshot.reader.runtime);
  }

  get count(): number {
    return this.snapshot.rows.length;
  }

  /** The row of the snapshot's table. */
  tableRow(row: number): number {
    return this.snapshot.rows[row]!;
  }

  id(row: number): number {
    return this.snapshot.table.id[this.tableRow(row)]!;
  }

  weight(): number {
    return 1;
  }

  state(row: number): GoroutineState {
    return stateOfStatus.get(this.snapshot.table.state(this.tableRow(row))) ?? "unknown";
  }

  reason(row: number): string {
    const { table, reader } = this.snapshot;
    const at = this.tableRow(row);
    return table.state(at) === goroutineStatus.waiting && table.waitReason[at] !== 0
      ? reader.statusWord(table, at)
      : "";
  }

  waitSeconds(row: number): Seconds {
    const waited = this.snapshot.table.waited(this.tableRow(row), this.snapshot.now);
    return waited < 0 ? -1 : waited / 1e9;
  }

  lockedToThread(row: number): boolean {
    return this.snapshot.table.lockedThread[this.tableRow(row)] !== 0;
  }

  current(row: number): Place {
    const node = this.snapshot.nodes[this.tableRow(row)]!;
    if (node < 0) return this.innermost(row);
    let place = this.currents.get(node);
    if (place === undefined) {
      place = this.frames(row).find((frame) => this.notTheRuntimes(frame)) ?? this.innermost(row);
      this.currents.set(node, place);
    }
    return place;
  }

  private notTheRuntimes(frame: StackFrame): boolean {
    return !frame.function.startsWith("runtime.") && !frame.function.startsWith("internal/runtime/");
  }

  /** The innermost frame by the goroutine's saved pc, the runtime's own included. */
  innermost(row: number): Place {
    const { table, reader } = this.snapshot;
    const at = this.tableRow(row);
    const state = table.state(at);
    const pc = state === goroutineStatus.syscall || table.syscallSp[at] !== 0 ? table.syscallPc[at]! : table.pc[at]!;
    // What is saved of a running goroutine is where it was scheduled last.
    const point = state === goroutineStatus.running ? undefined : reader.code.point(pc, false);
    return point ? reader.code.frames(point)[0]! : unknownPlace;
  }

  start(row: number): Place {
    const { table } = this.snapshot;
    const pc = table.startPc[this.tableRow(row)]!;
    let place = this.starts.get(pc);
    if (place === undefined) {
      place = this.findStart(row, pc);
      this.starts.set(pc, place);
    }
    return place;
  }

  private findStart(row: number, pc: number): Place {
    const { runtime, code } = this.snapshot.reader;
    return startFunction(runtime, code, pc, this.logicalFrames(row)) ?? this.creator(row);
  }

  creator(row: number): Place {
    const { reader, table } = this.snapshot;
    const pc = table.creationPc[this.tableRow(row)]!;
    let place = this.creators.get(pc);
    if (place === undefined) {
      place = creatingFunction(reader.runtime, reader.code, pc) ?? unknownPlace;
      this.creators.set(pc, place);
    }
    return place;
  }

  creatorId(row: number): number {
    return this.snapshot.table.parentId[this.tableRow(row)]!;
  }

  system(row: number): boolean {
    return this.snapshot.reader.isSystem(this.snapshot.table, this.tableRow(row));
  }

  labels(row: number): Labels | undefined {
    return this.labelReader.read(this.snapshot.table.labels[this.tableRow(row)]!);
  }

  frames(row: number): readonly StackFrame[] {
    return this.logicalFrames(row);
  }

  private logicalFrames(row: number): readonly LogicalFrame[] {
    const node = this.snapshot.nodes[this.tableRow(row)]!;
    if (node < 0) return [];
    let frames = this.frameLists.get(node);
    if (frames === undefined) {
      frames = sourceFrames(this.snapshot.tree, this.snapshot.reader.code, node);
      if (this.frameLists.size >= mostLists) this.frameLists.clear();
      this.frameLists.set(node, frames);
    }
    return frames;
  }

  /** Whether the goroutine stood still while it was read. */
  consistent(row: number): boolean {
    return this.snapshot.nodes[this.tableRow(row)] !== noStack.inconsistent;
  }
}
