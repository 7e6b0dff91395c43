/** /proc/PID/fd: how many file descriptors a process has open. */
import { readdirSync, statfsSync, statSync } from "node:fs";
import { errnoOf } from "../base/errors.ts";

const procSuperMagic = 0x9fa0;

/**
 * Whether stat(2) of a directory /proc/PID/fd gives the number of its entries as size (Linux 6.2, commit f1f1f2569901):
 * then no directory has to be listed. False for a fixture on another file system.
 */
export function fdCountIsSize(mount: string): boolean {
  try {
    return Number(statfsSync(mount).type) === procSuperMagic && statSync(`${mount}/self/fd`).size > 0;
  } catch {
    return false;
  }
}

/** The number of open descriptors; -1 where the directory may not be read, -2 where it is gone. */
export function countFds(dir: string, bySize: boolean): number {
  try {
    if (!bySize) return readdirSync(`${dir}/fd`).length;
    const stats = statSync(`${dir}/fd`, { throwIfNoEntry: false });
    return stats === undefined ? -2 : stats.size;
  } catch (error) {
    return errnoOf(error) === "EACCES" || errnoOf(error) === "EPERM" ? -1 : -2;
  }
}
