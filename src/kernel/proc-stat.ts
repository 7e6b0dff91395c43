/** /proc/PID/stat and /proc/PID/task/TID/stat: proc_pid_stat(5), fs/proc/array.c do_task_stat(). */
import type { Bytes, Pid } from "../base/units.ts";
import { defaultProcMount, type ProcBuffer, procError, sharedProcBuffer } from "./proc-file.ts";

/**
 * USER_HZ: clock ticks of procfs per second. A constant of the kernel's interface to user space on every architecture
 * that Node runs on (include/asm-generic/param.h).
 */
export const ticksPerSecond = 100;

/** Page size by which the kernel counts rss; 4096 on x86-64 and on almost every arm64. */
export const pageSize: Bytes = 4096;

/** The fields that procscope uses. Reused as the target of {@link parseProcStat}, so its members are plain and mutable. */
export interface ProcStat {
  pid: Pid;
  /** Where the command name lies in the buffer; between the first "(" and the last ")". */
  commStart: number;
  commEnd: number;
  /** The state's letter as ASCII code: R, S, D, T, t, Z, X, I … */
  state: number;
  parentPid: Pid;
  /** PF_* of include/linux/sched.h. */
  flags: number;
  minorFaults: number;
  majorFaults: number;
  /** USER_HZ ticks of this process alone, without its children's. */
  userTicks: number;
  systemTicks: number;
  threads: number;
  /** Ticks from boot to the start of the process. */
  startTicks: number;
  virtualBytes: Bytes;
  residentPages: number;
  /** Changes at every execve; 0 where the reader lacks PTRACE_MODE_READ, for kernel threads and for zombies. */
  argStart: number;
}

/** PF_KTHREAD: a kernel thread. */
export const kernelThreadFlag = 0x200000;

export function newProcStat(): ProcStat {
  return {
    pid: 0,
    commStart: 0,
    commEnd: 0,
    state: 0,
    parentPid: 0,
    flags: 0,
    minorFaults: 0,
    majorFaults: 0,
    userTicks: 0,
    systemTicks: 0,
    threads: 0,
    startTicks: 0,
    virtualBytes: 0,
    residentPages: 0,
    argStart: 0,
  };
}

const closeParenthesis = 41;

/** Parses the bytes of a stat file. False where they are not one: nothing of `into` is then to be used. */
export function parseProcStat(data: Buffer, length: number, into: ProcStat): boolean {
  // A command name may hold anything, also ") R 1 (": only the last parenthesis ends it.
  let close = length - 1;
  while (close > 0 && data[close] !== closeParenthesis) close--;
  const open = data.indexOf(40);
  if (close <= 0 || open < 0 || open > close || close + 4 > length) return false;
  into.pid = parseHead(data, open);
  into.commStart = open + 1;
  into.commEnd = close;
  into.state = data[close + 2]!;
  into.argStart = 0;
  into.residentPages = 0;
  return parseFields(data, close + 4, length, into);
}

function parseHead(data: Buffer, end: number): number {
  let value = 0;
  for (let at = 0; at < end && data[at] !== 32; at++) value = value * 10 + (data[at]! - 48);
  return value;
}

function parseFields(data: Buffer, from: number, length: number, into: ProcStat): boolean {
  let field = 4;
  let value = 0;
  let negative = false;
  for (let at = from; at <= length; at++) {
    const c = at < length ? data[at]! : 10;
    if (c >= 48 && c <= 57) value = value * 10 + (c - 48);
    else if (c === 45) negative = true;
    else {
      setField(into, field, negative ? -value : value);
      if (field === 48) return true;
      field++;
      value = 0;
      negative = false;
    }
  }
  // Kernels before 3.5 end earlier; all fields up to rss are there since 2.6.
  return field > 24;
}

function setField(into: ProcStat, field: number, value: number): void {
  switch (field) {
    case 4:
      into.parentPid = value;
      break;
    case 9:
      into.flags = value;
      break;
    case 10:
      into.minorFaults = value;
      break;
    case 12:
      into.majorFaults = value;
      break;
    case 14:
      into.userTicks = value;
      break;
    case 15:
      into.systemTicks = value;
      break;
    case 20:
      into.threads = value;
      break;
    case 22:
      into.startTicks = value;
      break;
    case 23:
      into.virtualBytes = value;
      break;
    case 24:
      into.residentPages = value;
      break;
    case 48:
      into.argStart = value;
      break;
  }
}

export interface ProcStatResult extends ProcStat {
  /** The command name: at most 15 bytes for processes, longer for some kernel threads. */
  readonly comm: string;
}

/** Reads one stat file. Throws NO_PROCESS, PERMISSION, UNREADABLE. */
export function readProcStat(pid: Pid, mount: string = defaultProcMount): ProcStatResult {
  const buffer: ProcBuffer = sharedProcBuffer;
  const stat = newProcStat();
  if (!buffer.readOnce(`${mount}/${pid}/stat`)) throw procError(pid, "stat", buffer.errno);
  if (!parseProcStat(buffer.data, buffer.length, stat)) throw procError(pid, "stat", "EINVAL");
  return { ...stat, comm: buffer.text(stat.commStart, stat.commEnd) };
}
