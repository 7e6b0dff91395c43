import type { Address, Nanoseconds } from "../base/units.ts";
import type { GoroutineLayout } from "./goroutine-layout.ts";

/** Status words of runtime.g (runtime/runtime2.go), without the scan bit. */
export const goroutineStatus = {
  idle: 0,
  runnable: 1,
  running: 2,
  syscall: 3,
  waiting: 4,
  dead: 6,
  copystack: 8,
  preempted: 9,
  leaked: 10,
  deadExtra: 11,
} as const;

/** _Gscan: the garbage collector holds the goroutine to look at its stack. */
export const scanBit = 0x1000;

const TWO_32 = 4294967296;

/** Fields of goroutines, a column each: a million goroutines are twenty arrays. */
export class GoroutineTable {
  readonly capacity: number;
  private readonly layout: GoroutineLayout;
  /** The address of the g. */
  readonly address: Float64Array;
  readonly id: Float64Array;
  /** As in memory, with the scan bit. */
  readonly status: Uint16Array;
  /** An index into runtime.waitReasonStrings. */
  readonly waitReason: Uint8Array;
  /** g.waitsince: CLOCK_MONOTONIC, set when a garbage collection finds the goroutine waiting; 0 before. */
  readonly waitSince: Float64Array;
  /** Behind the go statement. */
  readonly creationPc: Float64Array;
  readonly startPc: Float64Array;
  /** 0 before Go 1.21. */
  readonly parentId: Float64Array;
  /** Address of the m that runs it; 0 where none does. */
  readonly thread: Float64Array;
  /** Address of the m that it is locked to; 0 where it is not. */
  readonly lockedThread: Float64Array;
  readonly labels: Float64Array;
  readonly bubble: Float64Array;
  readonly sp: Float64Array;
  readonly pc: Float64Array;
  readonly syscallSp: Float64Array;
  readonly syscallPc: Float64Array;
  readonly stackLow: Float64Array;
  readonly stackHigh: Float64Array;
  /** Whether a cleanup function is running on it (Go 1.25). */
  readonly runningCleanups: Uint8Array;
  /** Whether sched.g points to the goroutine itself, as it does in every goroutine that ever ran. */
  readonly genuine: Uint8Array;

  constructor(layout: GoroutineLayout, capacity: number) {
    this.layout = layout;
    this.capacity = capacity;
    const words = (): Float64Array => new Float64Array(capacity);
    this.address = words();
    this.id = words();
    this.status = new Uint16Array(capacity);
    this.waitReason = new Uint8Array(capacity);
    this.waitSince = words();
    this.creationPc = words();
    this.startPc = words();
    this.parentId = words();
    this.thread = words();
    this.lockedThread = words();
    this.labels = words();
    this.bubble = words();
    this.sp = words();
    this.pc = words();
    this.syscallSp = words();
    this.syscallPc = words();
    this.stackLow = words();
    this.stackHigh = words();
    this.runningCleanups = new Uint8Array(capacity);
    this.genuine = new Uint8Array(capacity);
  }

  /** Fills a row from the words of a g; `at` is the index of its first 32-bit word. */
  load(row: number, address: Address, words: Uint32Array, at: number): void {
    const { layout } = this;
    this.address[row] = address;
    this.status[row] = words[at + (layout.status >> 2)]! & 0xffff;
    this.id[row] = word(words, at, layout.id);
    this.waitReason[row] = byte(words, at, layout.waitReason);
    this.waitSince[row] = word(words, at, layout.waitSince);
    this.creationPc[row] = word(words, at, layout.creationPc);
    this.startPc[row] = word(words, at, layout.startPc);
    this.parentId[row] = layout.parentId < 0 ? 0 : word(words, at, layout.parentId);
    this.thread[row] = word(words, at, layout.thread);
    this.lockedThread[row] = layout.lockedThread < 0 ? 0 : word(words, at, layout.lockedThread);
    this.labels[row] = layout.labels < 0 ? 0 : word(words, at, layout.labels);
    this.bubble[row] = layout.bubble < 0 ? 0 : word(words, at, layout.bubble);
    this.sp[row] = word(words, at, layout.sp);
    this.pc[row] = word(words, at, layout.pc);
    this.syscallSp[row] = word(words, at, layout.syscallSp);
    this.syscallPc[row] = word(words, at, layout.syscallPc);
    this.stackLow[row] = word(words, at, layout.stackLow);
    this.stackHigh[row] = word(words, at, layout.stackHigh);
    this.runningCleanups[row] = layout.runningCleanups < 0 ? 0 : byte(words, at, layout.runningCleanups) & 1;
    this.genuine[row] = word(words, at, layout.self) === address ? 1 : 0;
  }

  /**
   * Whether the goroutine stood still since its row was loaded: state, stack pointer, pc, id and the stack's bounds are
   * what they were. The scan bit may come and go, it moves nothing.
   */
  unchanged(row: number, words: Uint32Array, at: number): boolean {
    const { layout } = this;
    return (
      ((words[at + (layout.status >> 2)]! ^ this.status[row]!) & 0xffff & ~scanBit) === 0 &&
      word(words, at, layout.sp) === this.sp[row] &&
      word(words, at, layout.pc) === this.pc[row] &&
      word(words, at, layout.syscallSp) === this.syscallSp[row] &&
      word(words, at, layout.id) === this.id[row] &&
      word(words, at, layout.stackLow) === this.stackLow[row] &&
      word(words, at, layout.stackHigh) === this.stackHigh[row]
    );
  }

  /** The status without the scan bit. */
  state(row: number): number {
    return this.status[row]! & ~scanBit;
  }

  /** Whether the row is no goroutine: dead, never born, or memory that was not one. */
  gone(row: number): boolean {
    const state = this.state(row);
    return state === goroutineStatus.dead || state === goroutineStatus.deadExtra || this.genuine[row] === 0;
  }

  /** How long it has waited by the clock `now`, or -1 where the runtime has not noted the beginning. */
  waited(row: number, now: Nanoseconds): Nanoseconds {
    const since = this.waitSince[row]!;
    const state = this.state(row);
    if (since === 0 || (state !== goroutineStatus.waiting && state !== goroutineStatus.syscall)) return -1;
    return Math.max(0, now - since);
  }
}

function word(words: Uint32Array, at: number, offset: number): number {
  const index = at + (offset >> 2);
  return words[index]! + words[index + 1]! * TWO_32;
}

function byte(words: Uint32Array, at: number, offset: number): number {
  return (words[at + (offset >> 2)]! >>> ((offset & 3) * 8)) & 0xff;
}
