/** Which pages of a process are in memory: /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst. */
import { closeSync, openSync, readSync } from "node:fs";
import { errnoOf } from "../base/errors.ts";
import type { Address, Bytes, Pid } from "../base/units.ts";
import { defaultProcMount, procError } from "./proc-file.ts";
import { pageSize } from "./proc-stat.ts";

/** "none": nothing is there, and reading it would only make the kernel map zeros. */
export type Residence = "none" | "present" | "swapped";

/** Asks about ranges of one process. Throws NO_PROCESS, PERMISSION, UNREADABLE. */
export class ResidentPages implements Disposable {
  private readonly fd: number;
  private entries = Buffer.alloc(0);

  constructor(pid: Pid) {
    try {
      this.fd = openSync(`${defaultProcMount}/${pid}/pagemap`, "r");
    } catch (error) {
      throw procError(pid, "pagemap", errnoOf(error));
    }
  }

  /** Whether any page of the range is in memory; "swapped" where one is swapped out. */
  of(start: Address, length: Bytes): Residence {
    const bytes = Math.ceil(length / pageSize) * 8;
    if (this.entries.length < bytes) this.entries = Buffer.alloc(bytes);
    const read = readSync(this.fd, this.entries, 0, bytes, Math.floor(start / pageSize) * 8);
    let present = false;
    for (let at = 7; at < read; at += 8) {
      // Bit 63: present; bit 62: swapped.
      if ((this.entries[at]! & 0x40) !== 0) return "swapped";
      if ((this.entries[at]! & 0x80) !== 0) present = true;
    }
    return present ? "present" : "none";
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}
