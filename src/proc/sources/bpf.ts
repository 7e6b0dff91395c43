/**
 * The source "bpf": all processes and threads in one pass of the kernel's task iterator, without a file opened per
 * process. CPU times are exact to the nanosecond and split into user and system as the kernel splits them for procfs.
 */
import { readdirSync, statSync } from "node:fs";
import { errnoOf } from "../../base/errors.ts";
import { BpfIterator } from "../../kernel/bpf.ts";
import { taskProgram, taskRecord } from "../../kernel/bpf-tasks.ts";
import { kernelBtf } from "../../kernel/btf.ts";
import { defaultProcMount } from "../../kernel/proc-file.ts";
import { pageSize } from "../../kernel/proc-stat.ts";
import { readProcStatus } from "../../kernel/proc-status.ts";
import { refuseForeignPids } from "./pid-namespace.ts";
import { grown } from "./row-table.ts";
import { Field, type ProcessSource, ProcessTable, type ScanRequest, ThreadTable } from "./source.ts";
import { WchanReader } from "./wchan.ts";

const pfKthread = 0x00200000;
const commLength = 16;
const nsPerTick = 1e7;
const uncounted = 0xffffffff;

/** Offsets in 32-bit words of {@link taskRecord}. */
const word = Object.fromEntries(Object.entries(taskRecord).map(([name, at]) => [name, at / 4])) as typeof taskRecord;

const fields =
  Field.base | Field.io | Field.swap | Field.switches | Field.limit | Field.owner | Field.exec | Field.peak;

/** Sums over a process's threads, living and dead, while a scan runs; one per row of the ProcessTable. */
interface Sums {
  runtime: Float64Array;
  userTime: Float64Array;
  systemTime: Float64Array;
  readBytes: Float64Array;
  writeBytes: Float64Array;
  minorFaults: Float64Array;
  majorFaults: Float64Array;
  voluntary: Float64Array;
  involuntary: Float64Array;
}

const newSums = (rows: number): Sums => ({
  runtime: new Float64Array(rows),
  userTime: new Float64Array(rows),
  systemTime: new Float64Array(rows),
  readBytes: new Float64Array(rows),
  writeBytes: new Float64Array(rows),
  minorFaults: new Float64Array(rows),
  majorFaults: new Float64Array(rows),
  voluntary: new Float64Array(rows),
  involuntary: new Float64Array(rows),
});

/**
 * Opens the source. Throws PERMISSION without CAP_BPF and CAP_PERFMON, UNSUPPORTED_HERE on kernels without task
 * iterators or BTF and inside a pid namespace, where the iterator's process ids are not those of /proc.
 *
 * `mount` is the procfs that is asked for what the iterator does not know: wchan and very large descriptor tables.
 */
export function openBpfSource(mount: string = defaultProcMount): ProcessSource {
  refuseForeignPids("the BPF task iterator");
  return new BpfSource(new BpfIterator(taskProgram(kernelBtf())), mount);
}

class BpfSource implements ProcessSource {
  readonly name = "bpf";
  readonly notes: readonly string[];
  readonly processes = new ProcessTable();
  readonly threads = new ThreadTable();
  readonly #iterator: BpfIterator;
  readonly #mount: string;
  readonly #wchan: WchanReader;
  #sums = newSums(this.processes.capacity);
  /** Places (in words) of the records of threads that lead no group, in the scan that runs. */
  #threadPlaces = new Uint32Array(1024);
  #threadCount = 0;
  #closed = false;

  constructor(iterator: BpfIterator, mount: string) {
    this.#iterator = iterator;
    this.#mount = mount;
    this.#wchan = new WchanReader(mount, this.processes);
    const hidden = hiddenPids(iterator, mount);
    this.notes = [
      ...(mayLookAtAll() ? [] : ["wchan reads as nothing for processes of other users without CAP_SYS_PTRACE"]),
      ...(hidden.length === 0 ? [] : [`the kernel hides from BPF what procfs shows: process ${hidden.join(", ")}`]),
    ];
  }

  scan(request: ScanRequest): void {
    // Before begin(): where the kernel refuses, the tables stay as they are.
    const bytes = this.#iterator.scan();
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    this.processes.begin();
    this.threads.begin();
    this.#readProcesses(bytes, words);
    this.#addThreads(words);
    this.#finishProcesses();
    if (request.threads) this.#readThreads(bytes, words);
    if (request.wchan) this.#wchan.readProcesses();
    if (request.wchan && request.threads) this.#wchan.readThreads(this.threads);
    this.processes.end();
    this.threads.end();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#iterator.close();
  }

  /** First pass: a row for each group leader, with its gauges and its own and its dead threads' counters. */
  #readProcesses(bytes: Buffer, words: Uint32Array): void {
    this.#threadCount = 0;
    const size = taskRecord.processSize / 4;
    for (let at = 0; at < words.length; ) {
      if (words[at + word.pid] !== words[at + word.tgid]) {
        this.#rememberThread(at);
        at += taskRecord.threadSize / 4;
        continue;
      }
      const start = Math.floor(u64(words, at + word.start) / nsPerTick);
      const row = this.processes.row(words[at + word.tgid]!, start);
      if (row >= this.#sums.runtime.length) this.#growSums();
      this.processes.setComm(row, bytes, (at + word.comm) * 4, commLength);
      this.#startSums(words, at, row);
      this.#setGauges(words, at, row);
      at += size;
    }
  }

  #startSums(words: Uint32Array, at: number, row: number): void {
    const sums = this.#sums;
    const both = (own: number, dead: number): number => u64(words, at + own) + u64(words, at + dead);
    sums.runtime[row] = both(word.runtime, word.deadRuntime);
    sums.userTime[row] = both(word.userTime, word.deadUserTime);
    sums.systemTime[row] = both(word.systemTime, word.deadSystemTime);
    sums.readBytes[row] = both(word.readBytes, word.deadReadBytes);
    sums.writeBytes[row] = both(word.writeBytes, word.deadWriteBytes);
    sums.minorFaults[row] = both(word.minorFaults, word.deadMinorFaults);
    sums.majorFaults[row] = both(word.majorFaults, word.deadMajorFaults);
    sums.voluntary[row] = both(word.voluntarySwitches, word.deadVoluntarySwitches);
    sums.involuntary[row] = both(word.involuntarySwitches, word.deadInvoluntarySwitches);
  }

  #setGauges(words: Uint32Array, at: number, row: number): void {
    const columns = this.processes.columns;
    const isNew = columns.valid[row] === 0;
    if (isNew) seedCpu(columns, row, words, at + word.toldGroupUserTime);
    const state = stateLetter(words[at + word.state]!, words[at + word.exitState]!);
    const resident =
      pages(words, at + word.filePages) + pages(words, at + word.anonymousPages) + pages(words, at + word.sharedPages);
    const residentBytes = resident * pageSize;
    const swapBytes = pages(words, at + word.swapPages) * pageSize;
    const fileLimit =
      words[at + word.fdLimit + 1] === 0xffffffff ? Number.POSITIVE_INFINITY : u64(words, at + word.fdLimit);
    const ppid = words[at + word.parent]!;
    const same =
      !isNew &&
      state === columns.state[row] &&
      residentBytes === columns.residentBytes[row] &&
      swapBytes === columns.swapBytes[row] &&
      fileLimit === columns.fileLimit[row] &&
      ppid === columns.ppid[row];
    columns.changed[row] = same ? 0 : 1;
    columns.state[row] = state;
    columns.residentBytes[row] = residentBytes;
    columns.swapBytes[row] = swapBytes;
    columns.fileLimit[row] = fileLimit;
    columns.ppid[row] = ppid;
    columns.uid[row] = words[at + word.effectiveUid]!;
    columns.threads[row] = words[at + word.threads]!;
    columns.virtualBytes[row] = u64(words, at + word.totalPages) * pageSize;
    columns.peakBytes[row] = Math.max(pages(words, at + word.peakPages), resident) * pageSize;
    columns.execMark[row] = u64(words, at + word.execs);
    columns.kernelThread[row] = (words[at + word.flags]! & pfKthread) !== 0 ? 1 : 0;
    columns.valid[row] = fields | (columns.valid[row]! & Field.wchan);
    this.#setOpenFiles(words[at + word.openFds]!, row);
  }

  #setOpenFiles(count: number, row: number): void {
    const { columns } = this.processes;
    columns.denied[row]! &= ~Field.files;
    if (count !== uncounted) {
      // The scan's own descriptor is open while it counts.
      columns.openFiles[row] = this.processes.id[row] === process.pid ? count - 1 : count;
      columns.valid[row]! |= Field.files;
      return;
    }
    try {
      // Since Linux 6.2 the size of the folder is the number of descriptors.
      const size = statSync(`${this.#mount}/${this.processes.id[row]}/fd`).size;
      if (size === 0) return;
      columns.openFiles[row] = size;
      columns.valid[row]! |= Field.files;
    } catch (error) {
      if (errnoOf(error) === "EACCES") columns.denied[row]! |= Field.files;
    }
  }

  /** Second pass: the counters of the other threads, which may lie before their leader's record. */
  #addThreads(words: Uint32Array): void {
    const sums = this.#sums;
    for (let i = 0; i < this.#threadCount; i++) {
      const at = this.#threadPlaces[i]!;
      const row = this.#processRow(words[at + word.tgid]!);
      if (row < 0) continue;
      sums.runtime[row]! += u64(words, at + word.runtime);
      sums.userTime[row]! += u64(words, at + word.userTime);
      sums.systemTime[row]! += u64(words, at + word.systemTime);
      sums.readBytes[row]! += u64(words, at + word.readBytes);
      sums.writeBytes[row]! += u64(words, at + word.writeBytes);
      sums.minorFaults[row]! += u64(words, at + word.minorFaults);
      sums.majorFaults[row]! += u64(words, at + word.majorFaults);
      sums.voluntary[row]! += u64(words, at + word.voluntarySwitches);
      sums.involuntary[row]! += u64(words, at + word.involuntarySwitches);
    }
  }

  /**
   * Third pass: sums become the row's counters. A thread that ended between the record of its leader and its own is in
   * neither, so a sum can be short for one scan: no counter is ever set below its last value.
   */
  #finishProcesses(): void {
    const { processes } = this;
    const { columns } = processes;
    const sums = this.#sums;
    for (let i = 0; i < processes.count; i++) {
      const row = processes.live[i]!;
      const ran = sums.runtime[row]! > columns.utime[row]! + columns.stime[row]!;
      const moved = raise(columns.voluntarySwitches, row, sums.voluntary[row]!);
      if (!ran && !moved && columns.changed[row] === 0) continue;
      columns.changed[row] = 1;
      splitCpu(columns, row, sums.runtime[row]!, sums.userTime[row]!, sums.systemTime[row]!);
      raise(columns.nonvoluntarySwitches, row, sums.involuntary[row]!);
      raise(columns.readBytes, row, sums.readBytes[row]!);
      raise(columns.writeBytes, row, sums.writeBytes[row]!);
      raise(columns.minorFaults, row, sums.minorFaults[row]!);
      raise(columns.majorFaults, row, sums.majorFaults[row]!);
    }
  }

  #readThreads(bytes: Buffer, words: Uint32Array): void {
    const size = taskRecord.processSize / 4;
    for (let at = 0; at < words.length; ) {
      const leads = words[at + word.pid] === words[at + word.tgid];
      const process = this.#processRow(words[at + word.tgid]!);
      if (process >= 0 && this.processes.columns.threads[process]! > 1) this.#setThread(bytes, words, at, process);
      at += leads ? size : taskRecord.threadSize / 4;
    }
  }

  #setThread(bytes: Buffer, words: Uint32Array, at: number, process: number): void {
    const start = Math.floor(u64(words, at + word.start) / nsPerTick);
    const born = this.threads.born.length;
    const row = this.threads.row(words[at + word.pid]!, start);
    const { columns } = this.threads;
    if (this.threads.born.length > born) seedCpu(columns, row, words, at + word.toldUserTime);
    this.threads.setComm(row, bytes, (at + word.comm) * 4, commLength);
    columns.process[row] = process;
    columns.state[row] = stateLetter(words[at + word.state]!, words[at + word.exitState]!);
    splitCpu(
      columns,
      row,
      u64(words, at + word.runtime),
      u64(words, at + word.userTime),
      u64(words, at + word.systemTime),
    );
    columns.readBytes[row] = u64(words, at + word.readBytes);
    columns.writeBytes[row] = u64(words, at + word.writeBytes);
    columns.minorFaults[row] = u64(words, at + word.minorFaults);
    columns.majorFaults[row] = u64(words, at + word.majorFaults);
    columns.voluntarySwitches[row] = u64(words, at + word.voluntarySwitches);
    columns.nonvoluntarySwitches[row] = u64(words, at + word.involuntarySwitches);
  }

  /** The row of a process that this scan has seen, or -1. */
  #processRow(tgid: number): number {
    const row = this.processes.find(tgid);
    return row >= 0 && this.processes.seen[row] === this.processes.generation ? row : -1;
  }

  #rememberThread(at: number): void {
    if (this.#threadCount === this.#threadPlaces.length) this.#threadPlaces = grown(this.#threadPlaces);
    this.#threadPlaces[this.#threadCount++] = at;
  }

  #growSums(): void {
    const larger = newSums(this.processes.capacity);
    for (const name of Object.keys(larger) as (keyof Sums)[]) larger[name].set(this.#sums[name]);
    this.#sums = larger;
  }
}

/**
 * Processes that procfs shows and the iterator does not: some sandboxes keep their own from BPF. Those that began or ended
 * meanwhile do not count.
 */
function hiddenPids(iterator: BpfIterator, mount: string): number[] {
  const before = new Set(pidsOf(mount));
  const seen = new Set<number>();
  const bytes = iterator.scan();
  for (let at = 0; at < bytes.length; ) {
    const pid = bytes.readUInt32LE(at + taskRecord.tgid);
    seen.add(pid);
    at += bytes.readUInt32LE(at + taskRecord.pid) === pid ? taskRecord.processSize : taskRecord.threadSize;
  }
  return pidsOf(mount).filter((pid) => before.has(pid) && !seen.has(pid));
}

function mayLookAtAll(): boolean {
  const capSysPtrace = 19n;
  return ((readProcStatus(process.pid).effectiveCapabilities >> capSysPtrace) & 1n) === 1n;
}

function pidsOf(mount: string): number[] {
  try {
    return readdirSync(mount).map(Number).filter(Boolean);
  } catch {
    return [];
  }
}

function u64(words: Uint32Array, at: number): number {
  return words[at]! + words[at + 1]! * 4294967296;
}

/** A count of pages that is kept per CPU: the sum that is read can be a little below 0, which is shown as 0. */
function pages(words: Uint32Array, at: number): number {
  return words[at + 1]! >= 0x80000000 ? 0 : u64(words, at);
}

/** Raises a counter; false where it was there already. */
function raise(column: Float64Array, row: number, value: number): boolean {
  if (value <= column[row]!) return false;
  column[row] = value;
  return true;
}

/** Starts a row from what procfs told before, which others may have read. */
function seedCpu(
  columns: { utime: Float64Array; stime: Float64Array },
  row: number,
  words: Uint32Array,
  at: number,
): void {
  columns.utime[row] = u64(words, at);
  columns.stime[row] = u64(words, at + 2);
}

/**
 * Splits the exact time on CPU by the ratio of ticks that met user and system mode, never taking back what was told
 * before: kernel/sched/cputime.c cputime_adjust().
 */
function splitCpu(
  columns: { utime: Float64Array; stime: Float64Array },
  row: number,
  runtime: number,
  userTicks: number,
  systemTicks: number,
): void {
  const user = columns.utime[row]!;
  const system = columns.stime[row]!;
  if (user + system >= runtime) return;
  let newSystem =
    systemTicks === 0 ? 0 : userTicks === 0 ? runtime : Math.floor(runtime * (systemTicks / (systemTicks + userTicks)));
  if (newSystem < system) newSystem = system;
  let newUser = runtime - newSystem;
  if (newUser < user) {
    newUser = user;
    newSystem = runtime - user;
  }
  columns.utime[row] = newUser;
  columns.stime[row] = newSystem;
}

/** The letter that procfs shows: fs/proc/array.c task_state_array, include/linux/sched.h __task_state_index(). */
function stateLetter(state: number, exitState: number): number {
  const idle = 0x402;
  const sleepsDeep = 0x1000 | 0x8000; // TASK_RTLOCK_WAIT, TASK_FROZEN
  if ((state & idle) === idle) return 73; // I
  if ((state & sleepsDeep) !== 0) return 68; // D
  const shown = (state | exitState) & 0x7f;
  return stateLetters.charCodeAt(shown === 0 ? 0 : 32 - Math.clz32(shown));
}

const stateLetters = "RSDTtXZP";
