/** When the machine booted: the btime line of /proc/stat, proc_stat(5). */
import { ProcscopeError } from "../base/errors.ts";
import type { Seconds } from "../base/units.ts";
import { ProcBuffer } from "./proc-file.ts";

/**
 * Seconds since 1970, whole: the kernel rounds down, so that times made from it are up to one second early. Throws
 * UNREADABLE where `mount` is not a procfs.
 */
export function readBootTime(mount: string): Seconds {
  const buffer = new ProcBuffer();
  const found = buffer.read(`${mount}/stat`) ? /^btime (\d+)/m.exec(buffer.text()) : null;
  if (found) return Number(found[1]);
  throw new ProcscopeError(
    "UNREADABLE",
    `no procfs at ${mount}: ${buffer.errno ?? "its stat file has no btime line"}`,
    {
      hint: "give the mount point of a procfs, such as /proc or, in a container, /host/proc",
    },
  );
}
