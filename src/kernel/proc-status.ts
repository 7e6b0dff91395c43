/** /proc/PID/status and /proc/PID/task/TID/status: proc_pid_status(5), fs/proc/array.c proc_pid_status(). */
import type { Bytes, Pid } from "../base/units.ts";
import { decimalAt, defaultProcMount, procError, sharedProcBuffer, skipBlanks } from "./proc-file.ts";

/** The fields that a scan of all processes needs; the target of {@link parseScanStatus}. */
export interface ScanStatus {
  effectiveUid: number;
  /** Bytes swapped out; 0 for kernel threads, which have no such line. */
  swapBytes: Bytes;
  /** VmHWM: the largest resident size so far; 0 for kernel threads. */
  peakBytes: Bytes;
  voluntarySwitches: number;
  nonvoluntarySwitches: number;
}

const swapLabel = Buffer.from("\nVmSwap:");
const peakLabel = Buffer.from("\nVmHWM:");
const uidLabel = Buffer.from("\nUid:\t");
const lowerV = 118;
const lowerN = 110;
const newline = 10;

/** Parses the bytes of a status file of `length` bytes, without making a string. */
export function parseScanStatus(data: Buffer, length: number, into: ScanStatus): void {
  const bytes = data.subarray(0, length);
  const uid = bytes.indexOf(uidLabel);
  into.effectiveUid = uid < 0 ? -1 : secondNumber(bytes, uid + uidLabel.length);
  const peak = bytes.indexOf(peakLabel, Math.max(uid, 0));
  into.peakBytes = peak < 0 ? 0 : kilobytesAt(bytes, peak + peakLabel.length);
  const swap = peak < 0 ? -1 : bytes.indexOf(swapLabel, peak);
  into.swapBytes = swap < 0 ? 0 : kilobytesAt(bytes, swap + swapLabel.length);
  parseSwitches(bytes, length, into);
}

/** The two lines of context switches are the last ones (x86 may add others after them), so they are sought from the end. */
function parseSwitches(data: Buffer, length: number, into: ScanStatus): void {
  into.voluntarySwitches = 0;
  into.nonvoluntarySwitches = 0;
  let end = length;
  for (let found = 0; end > 0 && found < 2; ) {
    let start = end - 1;
    while (start > 0 && data[start - 1] !== newline) start--;
    const c = data[start];
    if (c === lowerN && data[start + 3] === lowerV) {
      into.nonvoluntarySwitches = decimalAt(data, skipBlanks(data, start + 27));
      found++;
    } else if (c === lowerV) {
      into.voluntarySwitches = decimalAt(data, skipBlanks(data, start + 24));
      found++;
    }
    end = start;
  }
}

function kilobytesAt(data: Buffer, at: number): number {
  return decimalAt(data, skipBlanks(data, at)) * 1024;
}

function secondNumber(data: Buffer, at: number): number {
  while (data[at]! >= 48 && data[at]! <= 57) at++;
  return decimalAt(data, skipBlanks(data, at));
}

/** A status file read whole: for looks at one process. */
export interface ProcStatus {
  readonly name: string;
  /** The state's letter: R, S, D, T, t, Z, X, I … */
  readonly state: string;
  readonly pid: Pid;
  /** Thread group id: the process that this thread belongs to. */
  readonly tgid: Pid;
  readonly parentPid: Pid;
  /** The tracer's pid, or 0. */
  readonly tracerPid: Pid;
  /** Real, effective, saved and file system user id. */
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  /** The pid in each nested pid namespace, outermost first; empty before Linux 4.1. */
  readonly namespacePids: readonly Pid[];
  readonly threads: number;
  readonly seccomp: number | undefined;
  readonly noNewPrivileges: boolean;
  /** Effective capabilities as a bit set. */
  readonly effectiveCapabilities: bigint;
  readonly permittedCapabilities: bigint;
  /** Sizes in bytes by the kernel's names without "Vm": VmRSS is "RSS", VmHWM "HWM"; absent for kernel threads. */
  readonly memory: Readonly<Partial<Record<MemoryField, Bytes>>>;
  readonly voluntarySwitches: number;
  readonly nonvoluntarySwitches: number;
  /** Every line by its label, as the kernel wrote it. */
  readonly lines: ReadonlyMap<string, string>;
}

const memoryFields = [
  "VmPeak",
  "VmSize",
  "VmLck",
  "VmPin",
  "VmHWM",
  "VmRSS",
  "RssAnon",
  "RssFile",
  "RssShmem",
  "VmData",
  "VmStk",
  "VmExe",
  "VmLib",
  "VmPTE",
  "VmSwap",
  "HugetlbPages",
] as const;
export type MemoryField = (typeof memoryFields)[number];

/** Reads one status file whole. Throws NO_PROCESS, PERMISSION, UNREADABLE. */
export function readProcStatus(pid: Pid, mount: string = defaultProcMount): ProcStatus {
  if (!sharedProcBuffer.read(`${mount}/${pid}/status`)) throw procError(pid, "status", sharedProcBuffer.errno);
  return parseProcStatus(sharedProcBuffer.text());
}

/** Parses the text of a status file; what a kernel does not say is 0, empty or absent. */
export function parseProcStatus(text: string): ProcStatus {
  const lines = new Map<string, string>();
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) lines.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const number = (label: string): number => Number.parseInt(lines.get(label) ?? "0", 10) || 0;
  const numbers = (label: string): number[] => (lines.get(label) ?? "").split(/\s+/).filter(Boolean).map(Number);
  const bits = (label: string): bigint => BigInt(`0x${/^[0-9a-f]+$/.exec(lines.get(label) ?? "")?.[0] ?? "0"}`);
  const memory: Partial<Record<MemoryField, Bytes>> = {};
  for (const field of memoryFields) if (lines.has(field)) memory[field] = number(field) * 1024;
  return {
    name: unescapeName(lines.get("Name") ?? ""),
    state: (lines.get("State") ?? "?").slice(0, 1),
    pid: number("Pid"),
    tgid: number("Tgid"),
    parentPid: number("PPid"),
    tracerPid: number("TracerPid"),
    uids: numbers("Uid"),
    gids: numbers("Gid"),
    namespacePids: numbers("NSpid"),
    threads: number("Threads"),
    seccomp: lines.has("Seccomp") ? number("Seccomp") : undefined,
    noNewPrivileges: number("NoNewPrivs") === 1,
    effectiveCapabilities: bits("CapEff"),
    permittedCapabilities: bits("CapPrm"),
    memory,
    voluntarySwitches: number("voluntary_ctxt_switches"),
    nonvoluntarySwitches: number("nonvoluntary_ctxt_switches"),
    lines,
  };
}

/** The kernel escapes newline and backslash in Name (fs/proc/array.c proc_task_name). */
function unescapeName(name: string): string {
  return name.replace(/\\([n\\])/g, (_all, c: string) => (c === "n" ? "\n" : "\\"));
}
