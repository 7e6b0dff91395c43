/**
 * What every way of scanning processes has in common. A source reads all processes (and threads, where asked) into
 * columns; the Grouper and the exporter work on these and never know which source filled them.
 *
 * There are three: "bpf" (the kernel's task iterator), "procfs-gated" (procfs, reading again only what has run since),
 * "procfs" (procfs, all of it each time). They give the same values for the same processes, within the resolution that
 * each field's comment states; a self-test compares them.
 *
 * To write one: own a {@link ProcessTable} and a {@link ThreadTable}; in scan() call `processes.begin()`, for each
 * process `row(pid, startTicks)`, fill the columns of that row, set its `valid` (and `denied`) bits, `setComm`, and last
 * `processes.end()` (`abandon()` before throwing). Columns of fields that were not read may keep old values: nobody
 * looks at a field whose valid bit is off. Counters are totals since the start of the process and include its exited
 * threads, never its children.
 */
import type { Bytes, Nanoseconds, Pid, Tid } from "../../base/units.ts";
import { type Columns, RowTable } from "./row-table.ts";

export type SourceName = "bpf" | "procfs-gated" | "procfs";

export interface ProcessSource {
  readonly name: SourceName;
  /** Sentences about what this source cannot deliver here, for `doctor` and the log at start. */
  readonly notes: readonly string[];
  readonly processes: ProcessTable;
  /** Filled only by scans that ask for threads, and only for processes of more than one thread. */
  readonly threads: ThreadTable;
  /**
   * Reads every process once. Processes that end meanwhile are left out. Throws ProcscopeError where the list itself
   * cannot be read; the tables are then as before the call.
   */
  scan(request: ScanRequest): void;
  /** Frees file descriptors and programs; scan() must not be called afterwards. Safe to call twice. */
  close(): void;
}

export interface ScanRequest {
  /** Fill {@link ThreadTable}. Without it no file or row of a thread is read. */
  readonly threads: boolean;
  /** Fill the wchan columns. */
  readonly wchan: boolean;
}

/** Bits of ProcessColumns.valid and .denied: groups of columns that are read, or refused, together. */
export const Field = {
  /** ppid, state, utime, stime, minorFaults, majorFaults, threads, residentBytes, virtualBytes. Always there. */
  base: 1,
  /** readBytes, writeBytes. */
  io: 2,
  /** swapBytes. */
  swap: 4,
  /** voluntarySwitches, nonvoluntarySwitches. */
  switches: 8,
  /** openFiles. */
  files: 16,
  /** fileLimit. */
  limit: 32,
  /** uid. */
  owner: 64,
  /** wchan. */
  wchan: 128,
  /** execMark: 0 there means that execs cannot be told from renames. */
  exec: 256,
  /** peakBytes. */
  peak: 512,
} as const;

export interface ProcessColumns {
  /** Bit set of {@link Field}: what this scan (or an earlier one, for what cannot have changed) has read. */
  valid: Uint32Array;
  /** Bit set of {@link Field}: what was refused (EACCES, EPERM) at the last attempt. */
  denied: Uint32Array;
  /**
   * 1 where a counter or gauge of the row may differ from the scan before, 0 where the source knows that none does (it
   * then left the columns untouched).
   */
  changed: Uint8Array;
  ppid: Int32Array;
  /** The effective user id. */
  uid: Int32Array;
  /** ASCII code of the main thread's state as procfs shows it: R S D T t Z X I. */
  state: Uint8Array;
  /** 1 for a kernel thread: no address space, no command line. */
  kernelThread: Uint8Array;
  /** Threads in the process. */
  threads: Int32Array;
  /** Nanoseconds in user mode, all threads, exited ones included. procfs knows it in steps of 10 ms. */
  utime: Float64Array;
  /** Nanoseconds in the kernel. */
  stime: Float64Array;
  readBytes: Float64Array;
  writeBytes: Float64Array;
  minorFaults: Float64Array;
  majorFaults: Float64Array;
  /**
   * procfs-like sources: of the main thread when the scan asked for no threads and of all living threads when it did,
   * as process-exporter has it; the task iterator: of all threads, exited ones included, always.
   */
  voluntarySwitches: Float64Array;
  nonvoluntarySwitches: Float64Array;
  residentBytes: Float64Array;
  virtualBytes: Float64Array;
  swapBytes: Float64Array;
  /** The largest resident size so far. */
  peakBytes: Float64Array;
  /** Open file descriptors. */
  openFiles: Int32Array;
  /** The soft limit of open files; Infinity for unlimited. */
  fileLimit: Float64Array;
  /** Index into {@link ProcessTable.names} of the kernel function that the main thread waits in; 0 for none. */
  wchan: Int32Array;
  /** Any number that differs after an execve of the same process. */
  execMark: Float64Array;
  /** Bytes of the command name padded with NUL; {@link commWidth} a row. Set by setComm. */
  commBytes: Uint8Array;
}

/** A command name has at most 15 bytes, but some kernel threads show longer ones in procfs: these are cut. */
export const commWidth = 16;

const makeProcessColumns = (rows: number): ProcessColumns => ({
  valid: new Uint32Array(rows),
  denied: new Uint32Array(rows),
  changed: new Uint8Array(rows),
  ppid: new Int32Array(rows),
  uid: new Int32Array(rows),
  state: new Uint8Array(rows),
  kernelThread: new Uint8Array(rows),
  threads: new Int32Array(rows),
  utime: new Float64Array(rows),
  stime: new Float64Array(rows),
  readBytes: new Float64Array(rows),
  writeBytes: new Float64Array(rows),
  minorFaults: new Float64Array(rows),
  majorFaults: new Float64Array(rows),
  voluntarySwitches: new Float64Array(rows),
  nonvoluntarySwitches: new Float64Array(rows),
  residentBytes: new Float64Array(rows),
  virtualBytes: new Float64Array(rows),
  swapBytes: new Float64Array(rows),
  peakBytes: new Float64Array(rows),
  openFiles: new Int32Array(rows),
  fileLimit: new Float64Array(rows),
  wchan: new Int32Array(rows),
  execMark: new Float64Array(rows),
  commBytes: new Uint8Array(rows * commWidth),
});

/** Columns of a thread; counters are its own since it started. */
export interface ThreadColumns {
  /** The row of its process in the ProcessTable. */
  process: Int32Array;
  state: Uint8Array;
  utime: Float64Array;
  stime: Float64Array;
  readBytes: Float64Array;
  writeBytes: Float64Array;
  minorFaults: Float64Array;
  majorFaults: Float64Array;
  voluntarySwitches: Float64Array;
  nonvoluntarySwitches: Float64Array;
  wchan: Int32Array;
  commBytes: Uint8Array;
}

const makeThreadColumns = (rows: number): ThreadColumns => ({
  process: new Int32Array(rows),
  state: new Uint8Array(rows),
  utime: new Float64Array(rows),
  stime: new Float64Array(rows),
  readBytes: new Float64Array(rows),
  writeBytes: new Float64Array(rows),
  minorFaults: new Float64Array(rows),
  majorFaults: new Float64Array(rows),
  voluntarySwitches: new Float64Array(rows),
  nonvoluntarySwitches: new Float64Array(rows),
  wchan: new Int32Array(rows),
  commBytes: new Uint8Array(rows * commWidth),
});

/** Rows with a command name: its bytes are compared at each scan, its string is made only when they differ. */
class NamedTable<C extends Columns<C> & { commBytes: Uint8Array }> extends RowTable<C> {
  /** The command name of each row as text. */
  readonly comm: string[] = [];
  /** The rows whose command name changed in this scan, new ones not included. */
  readonly renamed: number[] = [];

  override begin(): void {
    super.begin();
    this.renamed.length = 0;
  }

  protected override clear(row: number): void {
    super.clear(row);
    this.comm[row] = "";
  }

  /** Sets the command name of a row from bytes: up to `length` of them or to the first NUL. */
  setComm(row: number, data: Uint8Array, offset: number, length: number): void {
    const { commBytes } = this.columns;
    const at = row * commWidth;
    const end = Math.min(length, commWidth - 1);
    let same = true;
    let i = 0;
    for (; i < end; i++) {
      const byte = data[offset + i]!;
      if (byte === 0) break;
      if (commBytes[at + i] !== byte) {
        same = false;
        commBytes[at + i] = byte;
      }
    }
    if (commBytes[at + i] !== 0) same = false;
    if (same && i > 0) return;
    commBytes.fill(0, at + i, at + commWidth);
    const text = Buffer.from(commBytes.buffer, commBytes.byteOffset + at, i).toString("utf8");
    if (this.comm[row] !== "" && this.comm[row] !== text) this.renamed.push(row);
    this.comm[row] = text;
  }
}

export class ProcessTable extends NamedTable<ProcessColumns> {
  /** Interned kernel function names for the wchan columns of this table and its ThreadTable; 0 is "". */
  readonly names: string[] = [""];
  /** Processes of the last scan that are there but of which not even the base could be read. Set by the source. */
  unreadable = 0;
  private readonly numbers = new Map<string, number>([["", 0]]);

  constructor() {
    super(makeProcessColumns);
  }

  /** The index of a name in `names`. There are a few dozen; a hostile kernel is not a case. */
  intern(name: string): number {
    let number = this.numbers.get(name);
    if (number === undefined) {
      number = this.names.push(name) - 1;
      this.numbers.set(name, number);
    }
    return number;
  }
}

export class ThreadTable extends NamedTable<ThreadColumns> {
  constructor() {
    super(makeThreadColumns);
  }
}

/**
 * What the kernel says about a process when it ends. Times and bytes are totals over its life, all threads, without its
 * children.
 */
export interface ExitRecord {
  readonly pid: Pid;
  /** The thread that ended last, where the kernel tells. */
  readonly tid?: Tid;
  /** Start in USER_HZ ticks after boot; undefined where the kernel does not tell or only roughly (then see startTime). */
  readonly startTicks: number | undefined;
  /** Start as seconds since 1970, in whole seconds or finer; undefined where not told. */
  readonly startTime: number | undefined;
  readonly ppid: Pid;
  readonly uid: number;
  readonly comm: string;
  /** The command line, where an exec was seen (BPF); undefined where not known. */
  readonly cmdline: readonly string[] | undefined;
  /** Whether the process did an execve; undefined where not told. Without one it still is its parent's program. */
  readonly execed: boolean | undefined;
  readonly utime: Nanoseconds;
  readonly stime: Nanoseconds;
  readonly readBytes: Bytes;
  readonly writeBytes: Bytes;
  readonly minorFaults: number;
  readonly majorFaults: number;
  readonly voluntarySwitches: number;
  readonly nonvoluntarySwitches: number;
  /** Exit status as given to exit(2), 0 … 255; 0 where a signal ended it. */
  readonly exitCode: number;
  /** The signal that ended it, or 0. */
  readonly signal: number;
  /** Largest resident size, undefined where not told. */
  readonly peakBytes: Bytes | undefined;
  /** Time spent waiting; 0 what is not among the source's {@link ExitSource.delayKinds}. */
  readonly delays: ExitDelays;
}

export interface ExitDelays {
  /** Runnable but not running. */
  readonly cpu: Nanoseconds;
  /** Waiting for block IO. */
  readonly blockIo: Nanoseconds;
  /** Waiting for pages to come back from swap. */
  readonly swap: Nanoseconds;
}

/** Where exit records come from: taskstats, or BPF. */
export interface ExitSource {
  readonly name: "taskstats" | "bpf";
  readonly notes: readonly string[];
  /** Records that were lost because the kernel's queue was full. Never decreases. */
  readonly lost: number;
  /** What the kernel accounts for: waiting for a CPU always, the others where sysctl kernel.task_delayacct is 1. */
  readonly delayKinds: readonly (keyof ExitDelays)[];
  /**
   * The records of processes that ended since the last call, in order. Called after each scan and on a timer; must not
   * block. A process of several threads gives one record, when its last thread ends.
   */
  drain(): readonly ExitRecord[];
  close(): void;
}
