/**
 * The words of the process library: what process-exporter's Go package `proc` v0.1.0 exports, in this language's
 * spelling. Byte counters are bigint: they may pass 2^53.
 */
import type { Pid, Seconds } from "../base/units.ts";

/** Counters of a process or a group. */
export interface Counts {
  /** CPU time used, user and system, in seconds. */
  readonly cpu: Seconds;
  /** Bytes fetched from storage. */
  readonly readBytes: bigint;
  /** Bytes sent towards storage. */
  readonly writeBytes: bigint;
}

/** Memory in use, in bytes. */
export interface Memory {
  readonly resident: bigint;
  readonly virtual: bigint;
}

/** Uniquely identifies a process while the machine runs. */
export interface ProcId {
  /** UNIX process id: reused over time. */
  readonly pid: Pid;
  /** When the process started, in clock ticks (1/100 s) after system boot. */
  readonly startTimeRel: number;
}

/** What does not change in the life of a process, as long as it does not exec. */
export interface ProcStatic {
  /** The command name: field 2 of /proc/PID/stat, at most 15 bytes. */
  readonly name: string;
  /** The arguments; empty for kernel threads and zombies. */
  readonly cmdline: readonly string[];
  readonly parentPid: Pid;
  /** In steps of 10 ms; up to a second early, because the kernel tells the time of boot in whole seconds. */
  readonly startTime: Date;
}

/** What changes. */
export interface ProcMetrics {
  /** CPU time used, user and system, in seconds; without children. */
  readonly cpuTime: Seconds;
  readonly readBytes: bigint;
  readonly writeBytes: bigint;
  readonly residentBytes: bigint;
  readonly virtualBytes: bigint;
}

/** Static details and metrics of one process. */
export interface ProcInfo extends ProcStatic, ProcMetrics {}

/** Id and static details of one process. */
export interface ProcIdStatic extends ProcId, ProcStatic {}

/**
 * One process to look at. All but getPid throw ProcscopeError: PERMISSION where rights lack, NO_PROCESS where it is gone.
 */
export interface Proc {
  /** The process id. It may be reused over time. */
  getPid(): Pid;
  /** Process id and start time, which together are unique. */
  getProcId(): ProcId;
  /** Details read from files under /proc/PID. Technically the name may change, but it is taken as static. */
  getStatic(): ProcStatic;
  /** Metrics read from files under /proc/PID. */
  getMetrics(): ProcMetrics;
}

/**
 * A sequence of processes. It starts before the first: next() must be called before the methods of Proc, which then
 * speak of the current process. A process that fails does not end the sequence.
 */
export interface ProcIter extends Proc, Iterable<Proc>, Disposable {
  /** Goes to the next process; false at the end. */
  next(): boolean;
  /** Releases what the iterator holds. Throws the error that kept the list from being read whole. */
  close(): void;
}

/** A source of processes. */
export interface Source {
  /** All processes at this moment. */
  allProcs(): ProcIter;
}

/** Id, static details and metrics of one process, taken at one moment; itself a Proc that gives these. */
export class ProcIdInfo implements Proc, ProcId, ProcInfo {
  readonly pid: Pid;
  readonly startTimeRel: number;
  readonly name: string;
  readonly cmdline: readonly string[];
  readonly parentPid: Pid;
  readonly startTime: Date;
  readonly cpuTime: Seconds;
  readonly readBytes: bigint;
  readonly writeBytes: bigint;
  readonly residentBytes: bigint;
  readonly virtualBytes: bigint;

  constructor(id: ProcId, details: ProcStatic, metrics: ProcMetrics) {
    this.pid = id.pid;
    this.startTimeRel = id.startTimeRel;
    this.name = details.name;
    this.cmdline = details.cmdline;
    this.parentPid = details.parentPid;
    this.startTime = details.startTime;
    this.cpuTime = metrics.cpuTime;
    this.readBytes = metrics.readBytes;
    this.writeBytes = metrics.writeBytes;
    this.residentBytes = metrics.residentBytes;
    this.virtualBytes = metrics.virtualBytes;
  }

  getPid(): Pid {
    return this.pid;
  }
  getProcId(): ProcId {
    return this;
  }
  getStatic(): ProcStatic {
    return this;
  }
  getMetrics(): ProcMetrics {
    return this;
  }
}

/** Reads everything about a process: id, static details and metrics, in this order; the first failure is thrown. */
export function info(proc: Proc): ProcIdInfo {
  return new ProcIdInfo(proc.getProcId(), proc.getStatic(), proc.getMetrics());
}

/** The key of a process in {@link Tracker.tracked}: "pid:start". */
export function procKey(id: ProcId): string {
  return `${id.pid}:${id.startTimeRel}`;
}

/** What a namer is told about a process. */
export interface NameAndCmdline {
  readonly name: string;
  readonly cmdline: readonly string[];
}

/** Decides which processes are wanted and what their group is called. */
export interface MatchNamer {
  matchAndName(process: NameAndCmdline): { matched: boolean; name: string };
}
