/** Source "procfs": reads every file of every process at each scan. Works everywhere, also on a copy of a /proc. */
import { readdirSync } from "node:fs";
import { errnoOf, ProcscopeError } from "../../base/errors.ts";
import { countFds, fdCountIsSize } from "../../kernel/proc-fds.ts";
import { defaultProcMount, isDenied, isGone, ProcBuffer } from "../../kernel/proc-file.ts";
import { type ProcIo, parseProcIo } from "../../kernel/proc-io.ts";
import { readOpenFileLimit } from "../../kernel/proc-limits.ts";
import { kernelThreadFlag, newProcStat, pageSize, parseProcStat, ticksPerSecond } from "../../kernel/proc-stat.ts";
import { parseScanStatus, type ScanStatus } from "../../kernel/proc-status.ts";
import { Field, type ProcessSource, ProcessTable, type ScanRequest, type SourceName, ThreadTable } from "./source.ts";

const nanosecondsPerTick = 1e9 / ticksPerSecond;

/** How often what seldom changes (the file limit) is read again: every so many scans, each row at another one. */
const refreshEvery = 16;

export interface ProcfsOptions {
  /** Where procfs is mounted. */
  readonly mount?: string;
}

/** What became of reading a task. */
export const Outcome = {
  /** Nothing is known: read its files. */
  Read: 0,
  Gone: 1,
  Unchanged: 2,
} as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

export class ProcfsSource implements ProcessSource {
  readonly name: SourceName = "procfs";
  readonly notes: readonly string[] = [];
  readonly processes = new ProcessTable();
  readonly threads = new ThreadTable();
  protected readonly mount: string;
  protected readonly buffer = new ProcBuffer();
  private readonly stat = newProcStat();
  private readonly io: ProcIo = { readBytes: 0, writeBytes: 0 };
  private readonly status: ScanStatus = {
    effectiveUid: 0,
    swapBytes: 0,
    peakBytes: 0,
    voluntarySwitches: 0,
    nonvoluntarySwitches: 0,
  };
  private readonly fdsBySize: boolean;
  /** Switches of the main thread when its wchan was read: it cannot wait elsewhere without a switch. */
  private readonly wchanAt: number[] = [];
  /** Rows whose threads are in the thread table: once a process had several, its counters come from them. */
  private readonly hasThreads: boolean[] = [];

  constructor(options: ProcfsOptions = {}) {
    this.mount = options.mount ?? defaultProcMount;
    this.fdsBySize = fdCountIsSize(this.mount);
  }

  scan(request: ScanRequest): void {
    const names = this.list();
    const { processes, threads } = this;
    processes.begin();
    processes.unreadable = 0;
    if (request.threads) threads.begin();
    try {
      for (const name of names) {
        const first = name.charCodeAt(0);
        if (first >= 49 && first <= 57) this.visit(Number(name), request);
      }
    } catch (error) {
      processes.abandon();
      if (request.threads) threads.abandon();
      throw error;
    }
    processes.end();
    if (request.threads) threads.end();
    this.forget();
  }

  close(): void {}

  /** Called for a row that a scan found to be gone or replaced: frees what the source keeps for it. */
  protected dropRow(_row: number): void {}

  /**
   * Whether a process known from an earlier scan needs no reading now. The plain source never knows; the gated one asks
   * the scheduler's statistics. `Gone` where it finds that the process ended.
   */
  protected gate(_row: number, _dir: string): Outcome {
    return Outcome.Read;
  }

  /** The same for a thread. */
  protected gateThread(_row: number, _dir: string): Outcome {
    return Outcome.Read;
  }

  private list(): string[] {
    try {
      return readdirSync(this.mount);
    } catch (error) {
      throw new ProcscopeError("UNREADABLE", `cannot list ${this.mount}: ${errnoOf(error) ?? error}`, { cause: error });
    }
  }

  private visit(pid: number, request: ScanRequest): void {
    const dir = `${this.mount}/${pid}`;
    const { processes } = this;
    const known = processes.find(pid);
    if (known >= 0) {
      const outcome = this.gate(known, dir);
      if (outcome === Outcome.Gone) {
        // Ended; its pid may already be another's. The row is missed by this scan unless the start time still fits.
        this.dropRow(known);
      } else if (outcome === Outcome.Unchanged) {
        processes.mark(known);
        processes.columns.changed[known] = 0;
        if (request.threads && this.hasThreads[known]) this.readThreads(known, dir, request.wchan);
        return;
      }
    }
    if (!this.buffer.readOnce(`${dir}/stat`)) {
      if (!isGone(this.buffer.errno)) processes.unreadable++;
      return;
    }
    if (!parseProcStat(this.buffer.data, this.buffer.length, this.stat)) {
      processes.unreadable++;
      return;
    }
    const row = processes.row(pid, this.stat.startTicks);
    if (known >= 0 && row !== known) this.dropRow(known);
    if (row !== known) this.resetRow(row);
    this.storeBase(row);
    this.readRest(row, dir, request);
  }

  private resetRow(row: number): void {
    this.wchanAt[row] = -1;
    this.hasThreads[row] = false;
  }

  private storeBase(row: number): void {
    const { stat } = this;
    const { columns } = this.processes;
    columns.changed[row] = 1;
    columns.ppid[row] = stat.parentPid;
    columns.state[row] = stat.state;
    columns.kernelThread[row] = stat.flags & kernelThreadFlag ? 1 : 0;
    columns.threads[row] = stat.threads;
    columns.utime[row] = stat.userTicks * nanosecondsPerTick;
    columns.stime[row] = stat.systemTicks * nanosecondsPerTick;
    columns.minorFaults[row] = stat.minorFaults;
    columns.majorFaults[row] = stat.majorFaults;
    columns.residentBytes[row] = stat.residentPages * pageSize;
    columns.virtualBytes[row] = stat.virtualBytes;
    columns.execMark[row] = stat.argStart;
    // What a scan keeps from earlier ones: the file limit.
    columns.valid[row] = Field.base | (columns.valid[row]! & Field.limit) | (stat.argStart !== 0 ? Field.exec : 0);
    columns.denied[row] = 0;
    this.processes.setComm(row, this.buffer.data, stat.commStart, this.commLength());
  }

  /** procfs appends what a kernel worker does to its name ("kworker/0:1-events"): that is not its name. */
  private commLength(): number {
    const { commStart, commEnd, flags } = this.stat;
    const { data } = this.buffer;
    if (!(flags & kernelThreadFlag) || data[commStart] !== 107 || data[commStart + 1] !== 119)
      return commEnd - commStart;
    for (let at = commStart; at < commEnd; at++) if (data[at] === 45 || data[at] === 43) return at - commStart;
    return commEnd - commStart;
  }

  private readRest(row: number, dir: string, request: ScanRequest): void {
    const { columns } = this.processes;
    this.readIo(row, dir);
    this.readStatus(row, dir, request.threads);
    const open = countFds(dir, this.fdsBySize);
    if (open >= 0) {
      columns.openFiles[row] = open;
      columns.valid[row]! |= Field.files;
    } else if (open === -1) columns.denied[row]! |= Field.files;
    if (!(columns.valid[row]! & Field.limit) || this.isRefreshScan(row)) this.readLimit(row, dir);
    if (request.wchan) this.readWchan(row, dir);
    if (request.threads && (this.stat.threads > 1 || this.hasThreads[row])) this.readThreads(row, dir, request.wchan);
  }

  protected isRefreshScan(row: number): boolean {
    return (this.processes.generation + row) % refreshEvery === 0;
  }

  private readIo(row: number, dir: string): void {
    const { columns } = this.processes;
    if (this.buffer.readOnce(`${dir}/io`)) {
      if (!parseProcIo(this.buffer.data, this.buffer.length, this.io)) return;
      columns.readBytes[row] = this.io.readBytes;
      columns.writeBytes[row] = this.io.writeBytes;
      columns.valid[row]! |= Field.io;
    } else if (isDenied(this.buffer.errno)) columns.denied[row]! |= Field.io;
  }

  private readStatus(row: number, dir: string, withThreads: boolean): void {
    const { columns } = this.processes;
    const { status } = this;
    if (!this.buffer.readOnce(`${dir}/status`)) {
      if (isDenied(this.buffer.errno)) columns.denied[row]! |= Field.swap | Field.switches | Field.owner;
      return;
    }
    parseScanStatus(this.buffer.data, this.buffer.length, status);
    columns.uid[row] = status.effectiveUid;
    columns.swapBytes[row] = status.swapBytes;
    columns.peakBytes[row] = status.peakBytes;
    columns.valid[row]! |= Field.swap | Field.switches | Field.owner | Field.peak;
    if (withThreads && this.hasThreads[row]) return;
    columns.voluntarySwitches[row] = status.voluntarySwitches;
    columns.nonvoluntarySwitches[row] = status.nonvoluntarySwitches;
  }

  private readLimit(row: number, dir: string): void {
    const { columns } = this.processes;
    const limit = readOpenFileLimit(dir, this.buffer);
    if (limit !== undefined) {
      columns.fileLimit[row] = limit;
      columns.valid[row]! |= Field.limit;
    } else if (isDenied(this.buffer.errno)) columns.denied[row]! |= Field.limit;
  }

  private readWchan(row: number, dir: string): void {
    const { columns } = this.processes;
    // A running task waits nowhere, and one that was never switched still waits where it did.
    const switches = this.status.voluntarySwitches + this.status.nonvoluntarySwitches;
    if (this.wchanAt[row] !== switches || this.wchanAt[row] === 0) {
      const wchan = this.wchan(dir, columns.state[row]!);
      if (wchan < 0) {
        columns.denied[row]! |= Field.wchan;
        return;
      }
      columns.wchan[row] = wchan;
      // Seen running it may sleep by now without a further count, so look again next time.
      this.wchanAt[row] = columns.state[row] === 82 ? -1 : switches;
    }
    columns.valid[row]! |= Field.wchan;
  }

  /** The number of the name of the function a task waits in; 0 for none, -1 where it may not be read. */
  private wchan(dir: string, state: number): number {
    if (state === 82 || state === 90) return 0;
    if (!this.buffer.readOnce(`${dir}/wchan`)) return isDenied(this.buffer.errno) ? -1 : 0;
    const { data, length } = this.buffer;
    return length === 0 || (length === 1 && data[0] === 48)
      ? 0
      : this.processes.intern(data.toString("latin1", 0, length));
  }

  private readThreads(row: number, dir: string, wchan: boolean): void {
    let names: string[];
    try {
      names = readdirSync(`${dir}/task`);
    } catch {
      return;
    }
    const { processes } = this;
    const pid = processes.id[row]!;
    const first = !this.hasThreads[row];
    // The living threads' switches are added up from their growth, so that a thread's end does not take its away.
    let voluntary = 0;
    let nonvoluntary = 0;
    for (const name of names) {
      const tid = Number(name);
      const thread = this.readThread(row, tid, `${dir}/task/${name}`, wchan);
      if (thread < 0 || (tid === pid && first)) continue;
      voluntary += this.switchGrowth[0];
      nonvoluntary += this.switchGrowth[1];
    }
    this.hasThreads[row] = true;
    processes.columns.voluntarySwitches[row]! += voluntary;
    processes.columns.nonvoluntarySwitches[row]! += nonvoluntary;
  }

  /** How much the thread read last was switched since the scan before. */
  private readonly switchGrowth: [number, number] = [0, 0];

  private readThread(process: number, tid: number, dir: string, wchan: boolean): number {
    const { threads, switchGrowth } = this;
    switchGrowth[0] = 0;
    switchGrowth[1] = 0;
    const known = threads.find(tid);
    if (known >= 0 && threads.columns.process[known] === process) {
      if (this.gateThread(known, dir) === Outcome.Unchanged) return threads.mark(known);
    }
    if (!this.buffer.readOnce(`${dir}/stat`)) return -1;
    if (!parseProcStat(this.buffer.data, this.buffer.length, this.stat)) return -1;
    const thread = threads.row(tid, this.stat.startTicks);
    threads.setComm(thread, this.buffer.data, this.stat.commStart, this.stat.commEnd - this.stat.commStart);
    const { columns } = threads;
    columns.process[thread] = process;
    columns.state[thread] = this.stat.state;
    columns.utime[thread] = this.stat.userTicks * nanosecondsPerTick;
    columns.stime[thread] = this.stat.systemTicks * nanosecondsPerTick;
    columns.minorFaults[thread] = this.stat.minorFaults;
    columns.majorFaults[thread] = this.stat.majorFaults;
    if (this.buffer.readOnce(`${dir}/io`) && parseProcIo(this.buffer.data, this.buffer.length, this.io)) {
      columns.readBytes[thread] = this.io.readBytes;
      columns.writeBytes[thread] = this.io.writeBytes;
    }
    this.readThreadStatus(thread, dir);
    // One seen between running and sleeping has none yet: look again until it has.
    if (wchan && (switchGrowth[0] + switchGrowth[1] > 0 || columns.wchan[thread] === 0)) {
      columns.wchan[thread] = Math.max(0, this.wchan(dir, this.stat.state));
    }
    return thread;
  }

  private readThreadStatus(thread: number, dir: string): void {
    if (!this.buffer.readOnce(`${dir}/status`)) return;
    parseScanStatus(this.buffer.data, this.buffer.length, this.status);
    const { columns } = this.threads;
    this.switchGrowth[0] = this.status.voluntarySwitches - columns.voluntarySwitches[thread]!;
    this.switchGrowth[1] = this.status.nonvoluntarySwitches - columns.nonvoluntarySwitches[thread]!;
    columns.voluntarySwitches[thread] = this.status.voluntarySwitches;
    columns.nonvoluntarySwitches[thread] = this.status.nonvoluntarySwitches;
  }

  private forget(): void {
    for (const row of this.processes.gone) this.dropRow(row);
  }
}
