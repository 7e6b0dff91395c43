import { u64 } from "../base/bytes.ts";
import { ProcscopeError } from "../base/errors.ts";
import { newRangeBuffer, type RangeBuffer, tryRead } from "../base/memory-reader.ts";
import type { Address, Bytes } from "../base/units.ts";
import { CodeTable } from "./code-table.ts";
import { type GoroutineLayout, goroutineLayout } from "./goroutine-layout.ts";
import { type GoroutineTable, goroutineStatus } from "./goroutine-table.ts";
import type { GoRuntime } from "./runtime.ts";
import { statusWords, waitReasonWords } from "./runtime-strings.ts";
import { mostNodes, type StackCopy, StackTree } from "./stack-tree.ts";
import { type TracebackRules, tracebackRules } from "./traceback-rules.ts";

/** What reading goroutines tells, one call a goroutine, in the order of runtime.allgs. */
export interface GoroutineVisitor {
  /** Whether the stack of a row is wanted; rows of which it is not are not told of. */
  wants(row: number): boolean;
  /** The stack of a row: its outermost frame in the tree, and the copy it was read from, valid during the call. */
  stack(row: number, node: number, copy: StackCopy): void;
  /** There is none: it is on a CPU, or it moved each time it was read. The row holds its last reading. */
  noStack(row: number, why: "running" | "inconsistent"): void;
}

/** Goroutines looked at between two checks: small, so that few have moved meanwhile; one system call's worth. */
const batchRows = 1024;
/** Copies of stacks held at a time, but for a single larger one. */
const batchBytes: Bytes = 8 << 20;
/** Go's own limit is 1 GB (runtime/debug.SetMaxStack). */
const largestStack: Bytes = 512 << 20;
const mostGoroutines = 1 << 26;
const singleTries = 8;

type SystemKind = "user" | "system" | "finalizers" | "cleanups";

/**
 * Reads goroutines and their stacks while the target runs. Each batch is read thrice: the goroutines, their stacks, the
 * goroutines again; what moved between is read again by itself, and reported as inconsistent where it never stood still.
 */
export class GoroutineReader {
  readonly runtime: GoRuntime;
  readonly layout: GoroutineLayout;
  readonly rules: TracebackRules;
  readonly code: CodeTable;
  /** Replaced when it grew too large: nodes hold until the next batch. */
  tree: StackTree;
  readonly statusWords: readonly string[];
  readonly reasonWords: readonly string[];
  private readonly systemKinds = new Map<Address, SystemKind>();
  private finalizerRunning = false;

  private readonly rows = new Words();
  private readonly stacks = new Words();
  private readonly checks = new Words();
  private readonly copy: StackCopy = { words: new Uint32Array(0), at: 0, length: 0 };
  private readonly stackAddresses = new Float64Array(batchRows);
  private readonly stackLengths = new Uint32Array(batchRows);
  private readonly stackRows = new Int32Array(batchRows);

  constructor(runtime: GoRuntime) {
    if (runtime.architecture.linkRegister)
      throw new ProcscopeError(
        "UNSUPPORTED_TARGET",
        `stacks of ${runtime.architecture.name} programs are not read yet`,
      );
    this.runtime = runtime;
    this.layout = goroutineLayout(runtime);
    this.rules = tracebackRules(runtime.version.minor);
    this.code = new CodeTable(runtime, this.rules);
    this.tree = new StackTree(this.code);
    this.statusWords = statusWords(runtime);
    this.reasonWords = waitReasonWords(runtime);
  }

  /** runtime.allgs: the addresses of all goroutines that there ever were, dead ones included. */
  addresses(): Float64Array {
    const at = this.runtime.globals.get("allgs");
    if (at === undefined) {
      throw new ProcscopeError("UNSUPPORTED_TARGET", "runtime.allgs was not found in this program", {
        hint: "procscope doctor --pid N shows what was",
      });
    }
    this.readFinalizerState();
    for (let attempt = 0; attempt < singleTries; attempt++) {
      const header = tryRead(this.runtime.memory, at, 24);
      if (!header) break;
      const count = u64(header, 8);
      if (count > mostGoroutines || count > u64(header, 16)) continue;
      const pointers = tryRead(this.runtime.memory, u64(header, 0), 8 * count);
      // The slice moves when it grows; where it lay may hold something else by the time that we look.
      const after = tryRead(this.runtime.memory, at, 8);
      if (pointers && after && u64(after, 0) === u64(header, 0)) return toAddresses(pointers, count);
    }
    throw new ProcscopeError("MALFORMED", "the list of goroutines (runtime.allgs) does not hold together");
  }

  /**
   * Throws NO_PROCESS where the memory read since {@link addresses} is no longer that program's: it has exited or
   * executed another one, so that what was told is not the whole. The list only grows, and its first entry stays.
   */
  checkSameProgram(addresses: Float64Array): void {
    const header = tryRead(this.runtime.memory, this.runtime.globals.get("allgs") ?? 0, 16);
    const first =
      header && u64(header, 8) >= addresses.length ? tryRead(this.runtime.memory, u64(header, 0), 8) : undefined;
    if (addresses.length === 0 || (first && u64(first, 0) === addresses[0])) return;
    throw new ProcscopeError("NO_PROCESS", "the process exited or executed another program while it was read");
  }

  private readFinalizerState(): void {
    const { globals, memory } = this.runtime;
    const status = globals.get("fingStatus");
    const running = globals.get("fingRunning");
    // fingRunningFinalizer, runtime/mfinal.go; a bool before Go 1.20.
    if (status !== undefined) this.finalizerRunning = ((tryRead(memory, status, 4)?.[0] ?? 0) & 2) !== 0;
    else if (running !== undefined) this.finalizerRunning = (tryRead(memory, running, 1)?.[0] ?? 0) !== 0;
  }

  /** Loads rows [0, count) from addresses [first, first + count), without stacks. */
  load(table: GoroutineTable, addresses: Float64Array, first: number, count: number, firstRow = 0): void {
    const wanted = addresses.subarray(first, first + count);
    this.rows.read(this.runtime, wanted, this.layout.length, count);
    for (let i = 0; i < count; i++) {
      const at = this.rows.at(i);
      if (at >= 0) table.load(firstRow + i, wanted[i]!, this.rows.words, at);
      else table.status[firstRow + i] = goroutineStatus.dead;
    }
  }

  /**
   * Reads goroutines with their stacks into rows of a table, telling the visitor of each that it wants. `keepTree`: the
   * nodes told must hold beyond the batch; stacks that no longer fit into the tree are told as inconsistent then.
   */
  read(
    table: GoroutineTable,
    addresses: Float64Array,
    first: number,
    count: number,
    firstRow: number,
    visitor: GoroutineVisitor,
    keepTree = false,
  ): void {
    for (let done = 0; done < count; ) {
      if (!keepTree && this.tree.size > mostNodes / 2) this.tree = new StackTree(this.code);
      const rows = Math.min(batchRows, count - done);
      this.load(table, addresses, first + done, rows, firstRow + done);
      done += this.readStacks(table, firstRow + done, rows, visitor);
    }
  }

  /** Returns how many rows were dealt with: fewer than asked for where their stacks are large. */
  private readStacks(table: GoroutineTable, firstRow: number, rows: number, visitor: GoroutineVisitor): number {
    let stacks = 0;
    let bytes = 0;
    let row = firstRow;
    for (const end = firstRow + rows; row < end; row++) {
      if (table.gone(row) || table.state(row) === goroutineStatus.idle || !visitor.wants(row)) continue;
      const sp = this.stackPointer(table, row);
      const length = sp === 0 ? 0 : table.stackHigh[row]! - sp;
      if (bytes + length > batchBytes && stacks > 0) break;
      bytes += length;
      this.stackRows[stacks] = row;
      this.stackAddresses[stacks] = sp;
      this.stackLengths[stacks++] = length;
    }
    this.stacks.readEach(this.runtime, this.stackAddresses, this.stackLengths, stacks);
    this.checkRows(table, stacks);
    for (let i = 0; i < stacks; i++) this.tell(table, i, visitor);
    return row - firstRow;
  }

  private checkRows(table: GoroutineTable, count: number): void {
    const addresses = new Float64Array(count);
    for (let i = 0; i < count; i++) addresses[i] = table.address[this.stackRows[i]!]!;
    this.checks.read(this.runtime, addresses, this.layout.checkLength, count);
  }

  private tell(table: GoroutineTable, index: number, visitor: GoroutineVisitor): void {
    const row = this.stackRows[index]!;
    if (this.running(table, row)) {
      visitor.noStack(row, "running");
      return;
    }
    const check = this.checks.at(index);
    const at = this.stacks.at(index);
    const length = this.stackLengths[index]!;
    if (length > 0 && at >= 0 && check >= 0 && table.unchanged(row, this.checks.words, check)) {
      this.copy.words = this.stacks.words;
      this.copy.at = at;
      this.copy.length = length;
      const node = this.unwind(table, row, this.copy);
      if (this.tree.brokenAt === 0) {
        visitor.stack(row, node, this.copy);
        return;
      }
    }
    this.again(table, row, visitor);
  }

  private readonly single = {
    address: new Float64Array(1),
    length: new Uint32Array(1),
    row: new Words(),
    stack: new Words(),
  };

  /** Reads one goroutine until it stood still meanwhile. */
  private again(table: GoroutineTable, row: number, visitor: GoroutineVisitor): void {
    const { address, length, row: rowWords, stack } = this.single;
    const { runtime, layout } = this;
    let broken = -1;
    for (let attempt = 0; attempt < singleTries; attempt++) {
      address[0] = table.address[row]!;
      rowWords.read(runtime, address, layout.length, 1);
      if (rowWords.at(0) < 0) break;
      table.load(row, address[0], rowWords.words, rowWords.at(0));
      if (table.gone(row) || table.state(row) === goroutineStatus.idle) return;
      if (this.running(table, row)) {
        visitor.noStack(row, "running");
        return;
      }
      const sp = this.stackPointer(table, row);
      if (sp === 0) continue;
      length[0] = table.stackHigh[row]! - sp;
      const base = address[0];
      address[0] = sp;
      stack.readEach(runtime, address, length, 1);
      address[0] = base;
      rowWords.read(runtime, address, layout.checkLength, 1);
      if (stack.at(0) < 0 || rowWords.at(0) < 0 || !table.unchanged(row, rowWords.words, rowWords.at(0))) continue;
      const copy = { words: stack.words, at: stack.at(0), length: length[0] };
      const node = this.unwind(table, row, copy);
      // It stood still twice and still does not hold together: then that is what it looks like.
      if (this.tree.brokenAt === 0 || (broken === this.tree.brokenAt && node > 1)) {
        visitor.stack(row, node, copy);
        return;
      }
      broken = this.tree.brokenAt;
    }
    visitor.noStack(row, "inconsistent");
  }

  private unwind(table: GoroutineTable, row: number, copy: StackCopy): number {
    const syscall = this.leftBySyscall(table, row);
    let pc = syscall ? table.syscallPc[row]! : table.pc[row]!;
    if (pc !== 0 || copy.length < 8) return this.tree.walk(copy, pc, syscall);
    // A call of a nil function: the frame is the caller's, whose address the call pushed.
    pc = copy.words[copy.at]! + copy.words[copy.at + 1]! * 4294967296;
    copy.at += 2;
    copy.length -= 8;
    return this.tree.walk(copy, pc, false);
  }

  private leftBySyscall(table: GoroutineTable, row: number): boolean {
    return table.state(row) === goroutineStatus.syscall || table.syscallSp[row] !== 0;
  }

  /** Whether it is on a CPU, so that its stack is not in memory as it is. */
  running(table: GoroutineTable, row: number): boolean {
    if (table.state(row) !== goroutineStatus.running) return false;
    return !(this.rules.leavingSyscall && table.syscallSp[row] !== 0);
  }

  /** Where its stack begins, or 0 where that does not hold together with the stack's bounds, or it is running. */
  private stackPointer(table: GoroutineTable, row: number): Address {
    if (this.running(table, row)) return 0;
    const sp = this.leftBySyscall(table, row) ? table.syscallSp[row]! : table.sp[row]!;
    const high = table.stackHigh[row]!;
    if (sp < table.stackLow[row]! || sp >= high || high - sp > largestStack || sp % 8 !== 0 || high % 8 !== 0) return 0;
    return sp;
  }

  /** The runtime's word for what a goroutine does: its wait reason, or its state. */
  statusWord(table: GoroutineTable, row: number): string {
    const state = table.state(row);
    const reason = table.waitReason[row]!;
    if ((state === goroutineStatus.waiting || state === goroutineStatus.leaked) && reason !== 0)
      return this.reasonWords[reason] ?? "unknown wait reason";
    return this.statusWords[state] ?? "???";
  }

  /** Whether the runtime leaves a goroutine out of tracebacks (runtime isSystemGoroutine). */
  isSystem(table: GoroutineTable, row: number): boolean {
    const start = table.startPc[row]!;
    let kind = this.systemKinds.get(start);
    if (kind === undefined) {
      kind = systemKind(this.code.functionAt(start)?.name ?? "");
      this.systemKinds.set(start, kind);
    }
    if (kind === "finalizers") return !this.finalizerRunning;
    if (kind === "cleanups") return table.runningCleanups[row] === 0;
    return kind === "system";
  }
}

function systemKind(start: string): SystemKind {
  if (!start.startsWith("runtime.")) return "user";
  if (start === "runtime.main" || start === "runtime.handleAsyncEvent" || start === "runtime.corostart") return "user";
  if (start === "runtime.runfinq" || start === "runtime.runFinalizers") return "finalizers";
  return start === "runtime.runCleanups" ? "cleanups" : "system";
}

function toAddresses(pointers: Buffer, count: number): Float64Array {
  const addresses = new Float64Array(count);
  for (let i = 0; i < count; i++) addresses[i] = u64(pointers, 8 * i);
  return addresses;
}

/** Ranges of the target's memory as 32-bit words. */
class Words {
  words: Uint32Array = new Uint32Array(0);
  private readonly buffer: RangeBuffer = newRangeBuffer();
  private lengths = new Uint32Array(0);

  /** Ranges of one length. */
  read(runtime: GoRuntime, addresses: Float64Array, length: Bytes, count: number): void {
    if (this.lengths.length < count || this.lengths[0] !== length) this.lengths = new Uint32Array(count).fill(length);
    this.readEach(runtime, addresses, this.lengths, count);
  }

  /** Ranges of lengths that are multiples of 8: so each begins at a whole word. */
  readEach(runtime: GoRuntime, addresses: Float64Array, lengths: Uint32Array, count: number): void {
    runtime.memory.readRanges(addresses, lengths, count, this.buffer);
    const { data } = this.buffer;
    if (this.words.buffer !== data.buffer || this.words.length !== data.length >> 2)
      this.words = new Uint32Array(data.buffer, data.byteOffset, data.length >> 2);
  }

  /** The index of the first word of range i, or -1 where it could not be read. */
  at(i: number): number {
    const offset = this.buffer.offsets[i]!;
    return offset < 0 ? -1 : offset >> 2;
  }
}
