/** Why perf_event_open(2) or its mmap(2) was refused, in words that name what to change. */
import { readFileSync } from "node:fs";
import { ProcscopeError } from "../base/errors.ts";
import type { Pid } from "../base/units.ts";
import { readProcStatus } from "./proc-status.ts";

const capSysAdmin = 21n;
const capPerfmon = 38n;

/** What the kernel's settings and our own rights say about perf events; for errors and for `doctor`. */
export interface PerfRights {
  /** kernel.perf_event_paranoid: -1 … 2, and 3 or 4 on Debian's and Ubuntu's kernels; undefined without perf events. */
  readonly paranoid: number | undefined;
  /** Whether we hold CAP_PERFMON or CAP_SYS_ADMIN. */
  readonly capable: boolean;
  /** Whether a seccomp filter is on us, which may refuse the call. */
  readonly filtered: boolean;
}

export function perfRights(): PerfRights {
  const status = readProcStatus(process.pid);
  const capable = ((status.effectiveCapabilities >> capSysAdmin) | (status.effectiveCapabilities >> capPerfmon)) & 1n;
  return { paranoid: perfParanoid(), capable: capable === 1n, filtered: status.seccomp === 2 };
}

function perfParanoid(): number | undefined {
  try {
    return Number.parseInt(readFileSync("/proc/sys/kernel/perf_event_paranoid", "latin1"), 10);
  } catch {
    return undefined;
  }
}

const grant = "run as root, or give CAP_PERFMON (setpriv --inh-caps=+perfmon --ambient-caps=+perfmon)";

/** The error for a refused perf_event_open; `pid` is the target's or -1 for the whole system. */
export function perfOpenError(pid: Pid, errno: string): ProcscopeError {
  const what = `perf events of ${pid < 0 ? "the whole system" : `process ${pid}`}`;
  if (errno === "ESRCH") return new ProcscopeError("NO_PROCESS", `no process ${pid}, or it exited`);
  if (errno === "EMFILE" || errno === "ENFILE") {
    return new ProcscopeError("UNSUPPORTED_HERE", `${what} need more file descriptors than are allowed (${errno})`, {
      hint: "raise the limit: ulimit -n 65536",
    });
  }
  if (errno === "EACCES" || errno === "EPERM") return refused(pid, what, errno);
  if (errno === "ENOSYS" || errno === "ENOENT" || errno === "EOPNOTSUPP") {
    return new ProcscopeError("UNSUPPORTED_HERE", `this kernel gives no ${what} (${errno})`, {
      hint: "needs CONFIG_PERF_EVENTS; in a container also a seccomp profile that allows perf_event_open",
    });
  }
  return new ProcscopeError("UNSUPPORTED_HERE", `perf_event_open for ${what}: ${errno}`);
}

function refused(pid: Pid, what: string, errno: string): ProcscopeError {
  const rights = perfRights();
  const reasons: string[] = [];
  if (rights.filtered)
    reasons.push("in a container, use a seccomp profile that allows perf_event_open (docker --cap-add PERFMON)");
  if (!rights.capable && (rights.paranoid ?? 2) > 2) {
    reasons.push(`kernel.perf_event_paranoid is ${rights.paranoid}: sysctl kernel.perf_event_paranoid=2, or ${grant}`);
  } else if (!rights.capable && pid < 0) {
    reasons.push(`kernel.perf_event_paranoid is ${rights.paranoid}: sysctl kernel.perf_event_paranoid=0, or ${grant}`);
  } else if (!rights.capable) {
    reasons.push(`run as the process's user, or ${grant}; CAP_SYS_PTRACE is enough without kernel frames`);
  }
  return new ProcscopeError("PERMISSION", `${what} are not allowed (${errno})`, {
    hint: reasons.length > 0 ? reasons.join("; ") : grant,
  });
}

/** The error for a ring that could not be mapped even at its smallest. */
export function perfMapError(errno: string): ProcscopeError {
  if (errno === "EPERM") {
    return new ProcscopeError(
      "PERMISSION",
      "the rings of perf events need more locked memory than is allowed (EPERM)",
      {
        hint: "raise it: sysctl kernel.perf_event_mlock_kb=4096 or ulimit -l unlimited; or give CAP_IPC_LOCK",
      },
    );
  }
  return new ProcscopeError("UNSUPPORTED_HERE", `the ring of a perf event cannot be mapped: ${errno}`);
}
