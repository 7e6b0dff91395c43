/**
 * Why the kernel refuses to let us look into a process, in words that name what to change. Mirrors the order of checks of
 * __ptrace_may_access() in kernel/ptrace.c and of Yama (security/yama/yama_lsm.c).
 */
import { readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { ProcscopeError } from "../base/errors.ts";
import type { Pid } from "../base/units.ts";
import { defaultProcMount } from "./proc-file.ts";
import { kernelThreadFlag, readProcStat } from "./proc-stat.ts";
import { type ProcStatus, readProcStatus } from "./proc-status.ts";

/** CAP_SYS_PTRACE, include/uapi/linux/capability.h. */
const capSysPtrace = 19n;

/** One thing that stands in the way. */
export interface Refusal {
  readonly reason: string;
  /** The command or setting that mends it. */
  readonly mend: string;
}

const grant =
  "run as root (sudo), or with the capability: setpriv --inh-caps=+sys_ptrace --ambient-caps=+sys_ptrace; " +
  "in a container: docker run --cap-add SYS_PTRACE --pid=container:NAME, or securityContext.capabilities.add: [SYS_PTRACE]";

/**
 * What keeps this process from reading `pid`'s memory, most probable first; empty where nothing seems to. `sysRoot` is
 * the folder that holds `kernel/yama/ptrace_scope` (/proc/sys, another one in tests). Throws NO_PROCESS.
 */
export function accessRefusals(
  pid: Pid,
  mount: string = defaultProcMount,
  sysRoot = `${defaultProcMount}/sys`,
): Refusal[] {
  const target = readProcStatus(pid, mount);
  const self = readProcStatus(process.pid);
  if ((self.effectiveCapabilities >> capSysPtrace) & 1n) return namespaceRefusals(pid, mount);
  const refusals: Refusal[] = [];
  const uid = process.geteuid?.() ?? -1;
  if (!ownedBy(uid, target)) {
    refusals.push({
      reason: `it belongs to uid ${target.uids.join("/")}, you are uid ${uid} without CAP_SYS_PTRACE`,
      mend: grant,
    });
  } else if ((target.permittedCapabilities & ~self.permittedCapabilities) !== 0n) {
    refusals.push({ reason: "it holds capabilities that you do not have", mend: grant });
  } else if (!canReadExe(pid, mount)) {
    refusals.push({
      reason: "it is not dumpable (it changed its user, or said prctl(PR_SET_DUMPABLE, 0))",
      mend: grant,
    });
  }
  return [...refusals, ...yamaRefusals(sysRoot)];
}

/** kernel.yama.ptrace_scope where it stands in the way of one without CAP_SYS_PTRACE. */
export function yamaRefusals(sysRoot: string): Refusal[] {
  const scope = readNumber(join(sysRoot, "kernel/yama/ptrace_scope"));
  if (scope === undefined || scope === 0) return [];
  if (scope === 3) {
    return [
      {
        reason: "kernel.yama.ptrace_scope is 3: nobody may attach until the next boot",
        mend: "boot with kernel.yama.ptrace_scope below 3",
      },
    ];
  }
  const who = scope === 1 ? "only descendants may be read" : "only those with CAP_SYS_PTRACE may read others";
  return [
    { reason: `kernel.yama.ptrace_scope is ${scope}: ${who}`, mend: `sysctl kernel.yama.ptrace_scope=0, or ${grant}` },
  ];
}

/** The error for a refused look into a process. */
export function accessError(pid: Pid, what: string, cause?: unknown): ProcscopeError {
  let refusals: Refusal[] = [];
  try {
    refusals = accessRefusals(pid);
  } catch (error) {
    if (error instanceof ProcscopeError && error.code === "NO_PROCESS") return error;
  }
  const first = refusals[0];
  const reason = first ? `: ${first.reason}` : "";
  return new ProcscopeError("PERMISSION", `the kernel refuses ${what} of process ${pid}${reason}`, {
    hint: first ? first.mend : `procscope doctor --pid ${pid} looks for the cause`,
    cause,
  });
}

/** A capability counts only over processes of our user namespace and those below it. */
function namespaceRefusals(pid: Pid, mount: string): Refusal[] {
  try {
    if (readlinkSync(`${mount}/${pid}/ns/user`) !== readlinkSync("/proc/self/ns/user") && !canReadExe(pid, mount)) {
      return [
        {
          reason: "it runs in a user namespace over which your capabilities do not count",
          mend: "run procscope on the host, as root",
        },
      ];
    }
  } catch {
    return [{ reason: "its user namespace may not be looked at", mend: "run procscope on the host, as root" }];
  }
  return [];
}

function ownedBy(uid: number, target: ProcStatus): boolean {
  return target.uids.slice(0, 3).every((id) => id === uid);
}

function canReadExe(pid: Pid, mount: string): boolean {
  try {
    readlinkSync(`${mount}/${pid}/exe`);
    return true;
  } catch {
    return false;
  }
}

function readNumber(path: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(path, "latin1"), 10);
  } catch {
    return undefined;
  }
}

/** Why there is no memory to read: the kernel says ESRCH also of what has a pid and no memory: kernel threads, and zombies. */
export function memoryGone(pid: Pid): ProcscopeError {
  const stat = statOf(pid);
  if (stat && stat.flags & kernelThreadFlag)
    return new ProcscopeError("UNSUPPORTED_TARGET", `process ${pid} is a kernel thread: it has no memory of its own`);
  if (stat?.state === zombieState)
    return new ProcscopeError("NO_PROCESS", `process ${pid} is a zombie: it exited, and its parent has not noticed`);
  return new ProcscopeError("NO_PROCESS", `no process ${pid}, or it exited`);
}

/** "Z" of /proc/PID/stat. */
const zombieState = 90;

function statOf(pid: Pid): ReturnType<typeof readProcStat> | undefined {
  try {
    return readProcStat(pid);
  } catch {
    return undefined;
  }
}
