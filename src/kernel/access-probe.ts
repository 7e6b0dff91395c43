/**
 * Tries each way of looking into a process, once and harmlessly, and explains every refusal: ptrace(2) "Ptrace access
 * mode checking", kernel/ptrace.c __ptrace_may_access(), security/yama/yama_lsm.c, fs/proc/base.c.
 */
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import type { Address, Pid } from "../base/units.ts";
import { readAccessSettings } from "./access-settings.ts";
import { hasCapability } from "./capabilities.ts";
import { addressOf, errnoName, ffiAvailable, lastErrno, libcFunction } from "./ffi.ts";
import { encodePerfAttr, perfEventOpen } from "./perf-attr.ts";
import { defaultProcMount } from "./proc-file.ts";
import { type ProcStatus, readProcStatus } from "./proc-status.ts";
import { accessRefusals, type Refusal } from "./process-access.ts";

export type Way = "maps" | "exe" | "process_vm_readv" | "mem" | "environ" | "fd" | "perf";

export interface Probe {
  readonly way: Way;
  /** The errno's name where it was refused, or undefined where it worked. */
  readonly errno: string | undefined;
}

/** Tries all ways. Nothing of the target is kept, and nothing of it changes. */
export function probeAccess(pid: Pid, mount = "/proc"): Probe[] {
  const dir = `${mount}/${pid}`;
  const address = firstReadable(dir);
  const tries: readonly [Way, () => void][] = [
    ["maps", () => void readFileSync(`${dir}/maps`)],
    ["exe", () => closeSync(openSync(`${dir}/exe`, "r"))],
    ["process_vm_readv", () => readByVm(pid, address)],
    ["mem", () => readByMem(dir, address)],
    ["environ", () => closeSync(openSync(`${dir}/environ`, "r"))],
    ["fd", () => void readdirSync(`${dir}/fd`)],
    ["perf", () => samplePerf(pid)],
  ];
  return tries.map(([way, attempt]) => ({ way, errno: errnoOfTry(attempt) }));
}

/** In the place of an errno where koffi is missing. */
const noNative = "no native functions";

class Refused extends Error {
  readonly code: string;
  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

function errnoOfTry(attempt: () => void): string | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    if (error instanceof ProcscopeError) return error.code === "UNSUPPORTED_HERE" ? noNative : error.code;
    return errnoOf(error) ?? "EIO";
  }
}

function firstReadable(dir: string): Address | undefined {
  try {
    const line = readFileSync(`${dir}/maps`, "latin1")
      .split("\n")
      .find((row) => / r\S\S\S /.test(row) && !row.includes("[v"));
    return line === undefined ? undefined : Number.parseInt(line, 16);
  } catch {
    // The address does not matter where the right is missing: it is checked first.
    return 4096;
  }
}

type VmReadv = (pid: number, local: bigint, n: number, remote: bigint, m: number, flags: number) => number;

function readByVm(pid: Pid, address: Address | undefined): void {
  if (!ffiAvailable().available) throw new Refused(noNative);
  const readv = libcFunction<VmReadv>(
    "long process_vm_readv(int pid, intptr_t local, unsigned long local_count, intptr_t remote, unsigned long remote_count, unsigned long flags)",
  );
  const byte = Buffer.alloc(1);
  const vectors = Buffer.alloc(32);
  vectors.writeBigUInt64LE(addressOf(byte), 0);
  vectors.writeBigUInt64LE(1n, 8);
  vectors.writeBigUInt64LE(BigInt(address ?? 4096), 16);
  vectors.writeBigUInt64LE(1n, 24);
  const base = addressOf(vectors);
  const errno = Number(readv(pid, base, 1, base + 16n, 1, 0)) < 0 ? errnoName(lastErrno()) : undefined;
  // A wrong address is not a refusal: rights are looked at before it is.
  if (errno !== undefined && errno !== "EFAULT") throw new Refused(errno);
}

function readByMem(dir: string, address: Address | undefined): void {
  const fd = openSync(`${dir}/mem`, "r");
  try {
    readSync(fd, Buffer.alloc(1), 0, 1, address ?? 4096);
  } catch (error) {
    if (errnoOf(error) !== "EIO") throw error;
  } finally {
    closeSync(fd);
  }
}

function samplePerf(pid: Pid): void {
  if (!ffiAvailable().available) throw new Refused(noNative);
  const attr = encodePerfAttr({
    event: "task-clock",
    rate: { frequency: 1 },
    sampleType: 1,
    registers: 0,
    stackBytes: 0,
    kernel: false,
    inherit: "none",
    excludeIdle: false,
    maxFrames: 0,
  });
  const fd = perfEventOpen(attr, pid, -1);
  if (fd < 0) throw new Refused(errnoName(-fd));
  closeSync(fd);
}

/**
 * Why a way was refused: what in the target, in us or in the kernel's settings stands in the way, and what mends it.
 * Never empty. Throws NO_PROCESS.
 */
export function explainRefusal(way: Way, errno: string, pid: Pid, sysRoot: string): Refusal[] {
  if (errno === noNative) return [{ reason: "koffi is not installed", mend: "npm install koffi" }];
  const found = way === "perf" ? perfRefusals(pid, sysRoot) : memoryRefusals(way, pid, sysRoot);
  const ours = readProcStatus(process.pid);
  if (ours.seccomp === 2 && (found.length === 0 || way === "perf")) found.push(filtered);
  if (found.length === 0)
    found.push({ reason: `the kernel says ${errno}; no cause is known`, mend: "run procscope as root on the host" });
  return found;
}

const filtered: Refusal = {
  reason: "a seccomp filter is on us, which may refuse the call",
  mend: "in a container: docker run --cap-add SYS_PTRACE --cap-add PERFMON, or a seccomp profile that allows it",
};

function memoryRefusals(way: Way, pid: Pid, sysRoot: string): Refusal[] {
  // Yama looks at attempts to attach only, and reading memory counts as one.
  const attaches = way === "process_vm_readv" || way === "mem";
  const known = accessRefusals(pid, defaultProcMount, sysRoot);
  const refusals = known.filter(({ reason }) => attaches || !reason.startsWith("kernel.yama"));
  const ours = readProcStatus(process.pid);
  if ((way === "mem" || way === "environ" || way === "fd") && !mayOpen(ours, pid)) {
    const reason = `/proc/${pid}/${way} belongs to ${ownerOf(pid)}, and CAP_DAC_READ_SEARCH is missing`;
    const wanted = refusals.length > 0 ? "+sys_ptrace,+dac_read_search" : "+dac_read_search";
    refusals.push({ reason, mend: grant(wanted) });
  }
  return refusals;
}

const grant = (capabilities: string): string =>
  `run as root (sudo), or: setpriv --inh-caps=${capabilities} --ambient-caps=${capabilities}`;

/** /proc/PID/mem, environ and fd have mode 0600 or 0500 besides: fs/proc/base.c. */
function mayOpen(ours: ProcStatus, pid: Pid): boolean {
  const set = ours.effectiveCapabilities;
  return (
    hasCapability(set, "CAP_DAC_READ_SEARCH") ||
    hasCapability(set, "CAP_DAC_OVERRIDE") ||
    ours.uids[1] === fileOwner(pid)
  );
}

/** The owner of a process's files: its effective user, or root where it may not be dumped. */
function fileOwner(pid: Pid): number | undefined {
  try {
    return statSync(`/proc/${pid}/status`).uid;
  } catch {
    return undefined;
  }
}

function ownerOf(pid: Pid): string {
  const owner = fileOwner(pid);
  const dumpable = owner === readProcStatus(pid).uids[1];
  return dumpable ? `uid ${owner}` : `uid ${owner} because the process may not be dumped`;
}

function perfRefusals(pid: Pid, sysRoot: string): Refusal[] {
  const set = readProcStatus(process.pid).effectiveCapabilities;
  if (hasCapability(set, "CAP_PERFMON") || hasCapability(set, "CAP_SYS_ADMIN")) return [];
  const paranoid = readAccessSettings(sysRoot).perfEventParanoid;
  if (paranoid === undefined)
    return [{ reason: "this kernel has no perf events", mend: "a kernel with CONFIG_PERF_EVENTS" }];
  if (paranoid > 2)
    return [
      {
        reason: `kernel.perf_event_paranoid is ${paranoid}: no perf events without CAP_PERFMON`,
        mend: `sysctl kernel.perf_event_paranoid=2, or ${grant("+perfmon")}`,
      },
    ];
  return memoryRefusals("maps", pid, sysRoot).map(({ reason }) => ({ reason, mend: grant("+perfmon,+sys_ptrace") }));
}
