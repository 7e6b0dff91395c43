import { readlinkSync } from "node:fs";
import { ProcscopeError } from "../../base/errors.ts";

/** PROC_PID_INIT_INO (include/linux/proc_ns.h): the inode of the first pid namespace. */
const initialPidNamespace = "pid:[4026531836]";

/** BPF programs see the host's process ids. Throws UNSUPPORTED_HERE where ours are others. */
export function refuseForeignPids(what: string): void {
  if (readlinkSync("/proc/self/ns/pid") === initialPidNamespace) return;
  throw new ProcscopeError(
    "UNSUPPORTED_HERE",
    `${what} gives the host's process ids, and this is a container's pid namespace`,
    {
      hint: "run in the host's pid namespace (docker --pid=host, Kubernetes hostPID: true), or read through /proc",
    },
  );
}
