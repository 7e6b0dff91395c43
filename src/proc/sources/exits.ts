/**
 * What processes used, told when they end: by BPF where allowed (exact CPU time, command lines), else by taskstats.
 *
 * They differ in when they tell: taskstats while the process can still be seen as a zombie, BPF some milliseconds to
 * {@link patience} after its end. A process that was scanned before is known by its pid and start.
 */
import { readFileSync } from "node:fs";
import { ProcscopeError } from "../../base/errors.ts";
import type { Pid } from "../../base/units.ts";
import { BpfExitEvents, exitEvent, exitEventKind } from "../../kernel/bpf-exits.ts";
import { pageSize } from "../../kernel/proc-stat.ts";
import { type TaskExit, TaskstatsListener } from "../../kernel/taskstats.ts";
import { refuseForeignPids } from "./pid-namespace.ts";
import type { ExitDelays, ExitRecord, ExitSource } from "./source.ts";

const pfForkNoExec = 0x40;
const signalGroupExit = 0x4;
const nsPerTick = 1e7;
/** Command lines and unfinished processes that are remembered; the oldest are forgotten first. */
const mostRemembered = 65_536;
/** Enough for some 40,000 exits between two drains. */
const queueBytes = 32 << 20;

/**
 * The best source of exit records that is allowed here. Throws what taskstats throws where neither can be had; the notes
 * say why it is not BPF.
 */
export function openExitSource(): ExitSource {
  try {
    return openBpfExits();
  } catch (error) {
    if (!(error instanceof ProcscopeError)) throw error;
    return openTaskstatsExits([`command lines of short-lived processes are not known: ${error.message}`]);
  }
}

/** Exit records by BPF. Throws PERMISSION without CAP_BPF and CAP_PERFMON, UNSUPPORTED_HERE. */
export function openBpfExits(): ExitSource {
  refuseForeignPids("BPF");
  return new BpfExits(new BpfExitEvents());
}

/** Exit records by taskstats. Throws PERMISSION without CAP_NET_ADMIN, UNSUPPORTED_HERE. */
export function openTaskstatsExits(notes: readonly string[] = []): ExitSource {
  return new TaskstatsExits(new TaskstatsListener(queueBytes), notes);
}

/**
 * How long the record of an ended process waits for the last of its CPU time, in ms. Almost always it comes within 20 ms;
 * a CPU that went idle at that moment can keep it for long, and the record then goes without its last slice, 4 ms at most.
 */
const patience = 1000;

class BpfExits implements ExitSource {
  readonly name = "bpf";
  readonly notes: readonly string[];
  readonly delayKinds = accountedDelays();
  readonly #events: BpfExitEvents;
  /** By pid: ended processes whose main thread was not freed yet, oldest first. */
  readonly #ended = new Map<Pid, { start: number; bytes: Buffer; at: number }>();
  /** By pid: what the last execve of a living process was called with. */
  readonly #commands = new Map<Pid, { start: number; bytes: Buffer }>();

  constructor(events: BpfExitEvents) {
    this.#events = events;
    this.notes = delayNotes(this.delayKinds);
  }

  get lost(): number {
    return this.#events.lost;
  }

  drain(): readonly ExitRecord[] {
    const records: ExitRecord[] = [];
    const now = performance.now();
    this.#events.read((data, at, length) => {
      const kind = data.readUInt32LE(at + exitEvent.kind);
      if (kind === exitEventKind.exec) this.#rememberCommand(data, at);
      else if (kind === exitEventKind.exit) this.#rememberEnd(data, at, length, now, records);
      else this.#finish(data, at, records);
    });
    for (const ended of this.#ended.values()) {
      if (now - ended.at < patience && this.#ended.size <= mostRemembered) break;
      this.#tell(ended.bytes, undefined, 0, records);
    }
    return records;
  }

  close(): void {
    this.#events.close();
  }

  #rememberCommand(data: Buffer, at: number): void {
    const pid = data.readUInt32LE(at + exitEvent.pid);
    const from = at + exitEvent.arguments;
    const bytes = Buffer.from(data.subarray(from, from + data.readUInt32LE(at + exitEvent.argumentLength)));
    this.#commands.delete(pid);
    this.#commands.set(pid, { start: wide(data, at + exitEvent.start), bytes });
    forgetOldest(this.#commands);
  }

  #rememberEnd(data: Buffer, at: number, length: number, now: number, records: ExitRecord[]): void {
    const pid = data.readUInt32LE(at + exitEvent.pid);
    const start = wide(data, at + exitEvent.start);
    const before = this.#ended.get(pid);
    // Two threads that ended together told the same twice; another start is a pid that was given out again.
    if (before && before.start !== start) this.#tell(before.bytes, undefined, 0, records);
    this.#ended.delete(pid);
    this.#ended.set(pid, { start, bytes: Buffer.from(data.subarray(at, at + length)), at: now });
  }

  /** The main thread was freed. Where nobody waits for that, the record went without it, or we came too late. */
  #finish(data: Buffer, at: number, records: ExitRecord[]): void {
    const ended = this.#ended.get(data.readUInt32LE(at + exitEvent.pid));
    if (ended && ended.start === wide(data, at + exitEvent.start)) this.#tell(ended.bytes, data, at, records);
  }

  #tell(bytes: Buffer, freed: Buffer | undefined, freedAt: number, records: ExitRecord[]): void {
    this.#ended.delete(bytes.readUInt32LE(exitEvent.pid));
    records.push(this.#exitRecord(bytes, freed, freedAt));
  }

  #exitRecord(data: Buffer, freed: Buffer | undefined, freedAt: number): ExitRecord {
    const pid = data.readUInt32LE(exitEvent.pid);
    const start = wide(data, exitEvent.start);
    const command = this.#commands.get(pid);
    this.#commands.delete(pid);
    // At its exit the main thread's counters stand beside those of its group; reaping adds them, but can come before the
    // thread's very end: what was read last from the thread itself is then more.
    const counter = (i: number): number => {
      const living = wide(data, exitEvent.own + i * 8) + wide(data, exitEvent.last + i * 8);
      const atExit = living + wide(data, exitEvent.group + i * 8);
      if (!freed) return atExit;
      const own = wide(freed, freedAt + exitEvent.own + i * 8);
      return Math.max(atExit, own, wide(freed, freedAt + exitEvent.group + i * 8));
    };
    const [stime, utime] = splitByTicks(counter(0), counter(1), counter(2));
    const byGroup = (data.readUInt32LE(exitEvent.signalFlags) & signalGroupExit) !== 0;
    const status = data.readUInt32LE(byGroup ? exitEvent.groupExitCode : exitEvent.exitCode);
    return {
      pid,
      startTicks: Math.floor(start / nsPerTick),
      startTime: undefined,
      ppid: data.readUInt32LE(exitEvent.ppid),
      uid: data.readUInt32LE(exitEvent.uid),
      comm: shortText(data, exitEvent.comm, 16),
      cmdline: command && command.start === start ? commandLine(command.bytes) : undefined,
      execed: (data.readUInt32LE(exitEvent.flags) & pfForkNoExec) === 0,
      utime,
      stime,
      minorFaults: counter(3),
      majorFaults: counter(4),
      readBytes: counter(5),
      writeBytes: counter(6),
      voluntarySwitches: counter(7),
      nonvoluntarySwitches: counter(8),
      ...waitStatus(status),
      peakBytes: wide(data, exitEvent.peakPages) * pageSize,
      delays: {
        cpu: wide(data, exitEvent.delays),
        blockIo: wide(data, exitEvent.delays + 8),
        swap: wide(data, exitEvent.delays + 16),
      },
    };
  }
}

/** What is known of a process of which threads have ended but not the last one. */
interface Unfinished {
  processStart: number;
  utime: number;
  stime: number;
  readBytes: number;
  writeBytes: number;
  minorFaults: number;
  majorFaults: number;
  voluntary: number;
  involuntary: number;
  cpuDelay: number;
  blockIoDelay: number;
  swapDelay: number;
  /** From the main thread's record, where it came already. */
  leader: { comm: string; forkedOnly: boolean; waitStatus: number } | undefined;
}

class TaskstatsExits implements ExitSource {
  readonly name = "taskstats";
  readonly notes: readonly string[];
  readonly delayKinds = accountedDelays();
  readonly #listener: TaskstatsListener;
  readonly #unfinished = new Map<Pid, Unfinished>();

  constructor(listener: TaskstatsListener, notes: readonly string[]) {
    this.#listener = listener;
    this.notes = [
      ...notes,
      "threads that ended before we listened are missing from the record of their process",
      ...delayNotes(this.delayKinds),
    ];
  }

  get lost(): number {
    return this.#listener.lost;
  }

  drain(): readonly ExitRecord[] {
    const records: ExitRecord[] = [];
    this.#listener.drain((exit) => {
      const known = this.#unfinished.get(exit.pid);
      if (exit.groupEnded && !known) {
        records.push(this.#record(exit, add(newUnfinished(exit), exit)));
        return;
      }
      // Starts are told in whole seconds: two apart is another process of the same pid, whose end was lost.
      const same = known && Math.abs(known.processStart - exit.processStart) <= 2;
      const sum = add(same ? known : newUnfinished(exit), exit);
      if (exit.groupEnded) {
        this.#unfinished.delete(exit.pid);
        records.push(this.#record(exit, sum));
        return;
      }
      this.#unfinished.set(exit.pid, sum);
      forgetOldest(this.#unfinished);
    });
    return records;
  }

  close(): void {
    this.#listener.close();
  }

  #record(exit: TaskExit, sum: Unfinished): ExitRecord {
    const leader = sum.leader;
    return {
      pid: exit.pid,
      tid: exit.tid,
      startTicks: undefined,
      startTime: exit.processStart,
      ppid: exit.ppid,
      uid: exit.uid,
      comm: leader?.comm ?? exit.comm,
      cmdline: undefined,
      // Only the main thread's record tells: threads count as forked without execve.
      execed: leader ? !leader.forkedOnly : undefined,
      utime: sum.utime,
      stime: sum.stime,
      readBytes: sum.readBytes,
      writeBytes: sum.writeBytes,
      minorFaults: sum.minorFaults,
      majorFaults: sum.majorFaults,
      voluntarySwitches: sum.voluntary,
      nonvoluntarySwitches: sum.involuntary,
      ...waitStatus(leader?.waitStatus ?? exit.waitStatus),
      peakBytes: exit.peakResident,
      delays: { cpu: sum.cpuDelay, blockIo: sum.blockIoDelay, swap: sum.swapDelay },
    };
  }
}

function newUnfinished(exit: TaskExit): Unfinished {
  return {
    processStart: exit.processStart,
    utime: 0,
    stime: 0,
    readBytes: 0,
    writeBytes: 0,
    minorFaults: 0,
    majorFaults: 0,
    voluntary: 0,
    involuntary: 0,
    cpuDelay: 0,
    blockIoDelay: 0,
    swapDelay: 0,
    leader: undefined,
  };
}

function add(sum: Unfinished, exit: TaskExit): Unfinished {
  sum.utime += exit.userTime;
  sum.stime += exit.systemTime;
  sum.readBytes += exit.readBytes;
  sum.writeBytes += exit.writeBytes;
  sum.minorFaults += exit.minorFaults;
  sum.majorFaults += exit.majorFaults;
  sum.voluntary += exit.voluntarySwitches;
  sum.involuntary += exit.involuntarySwitches;
  sum.cpuDelay += exit.cpuDelay;
  sum.blockIoDelay += exit.blockIoDelay;
  sum.swapDelay += exit.swapDelay;
  if (Number(exit.tid) === exit.pid)
    sum.leader = { comm: exit.comm, forkedOnly: exit.forkedOnly, waitStatus: exit.waitStatus };
  return sum;
}

/** [system, user] of an exact time on CPU, by the ratio of timer ticks that met each; all user where none did. */
function splitByTicks(runtime: number, user: number, system: number): [stime: number, utime: number] {
  const stime = system === 0 ? 0 : Math.floor(runtime * (system / (system + user)));
  return [stime, runtime - stime];
}

function waitStatus(status: number): { exitCode: number; signal: number } {
  return { exitCode: (status >>> 8) & 0xff, signal: status & 0x7f };
}

function commandLine(bytes: Buffer): string[] {
  const end = bytes.at(-1) === 0 ? bytes.length - 1 : bytes.length;
  return bytes.length === 0 ? [] : bytes.toString("utf8", 0, end).split("\0");
}

function shortText(data: Buffer, at: number, length: number): string {
  let end = at;
  while (end < at + length && data[end] !== 0) end++;
  return data.toString("utf8", at, end);
}

function wide(data: Buffer, at: number): number {
  return data.readUInt32LE(at) + data.readUInt32LE(at + 4) * 4294967296;
}

function forgetOldest(map: Map<Pid, unknown>): void {
  if (map.size <= mostRemembered) return;
  for (const pid of map.keys()) {
    map.delete(pid);
    return;
  }
}

function accountedDelays(): readonly (keyof ExitDelays)[] {
  try {
    if (readFileSync("/proc/sys/kernel/task_delayacct", "latin1").trim() === "1") return ["cpu", "blockIo", "swap"];
  } catch {
    // A kernel without CONFIG_TASK_DELAY_ACCT, or older than the setting (5.14).
  }
  return ["cpu"];
}

function delayNotes(kinds: readonly (keyof ExitDelays)[]): string[] {
  return kinds.includes("swap")
    ? []
    : ["waits for block IO and swap are not accounted: sysctl kernel.task_delayacct=1 turns it on"];
}
