/**
 * Whether the process that was there when we looked first is still there, whatever has become of its pid. The open stat
 * file belongs to that process alone: reading it after the end gives ESRCH, also when the pid has been given to another.
 */
import { closeSync, openSync } from "node:fs";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import type { Pid } from "../base/units.ts";
import { ProcBuffer } from "../kernel/proc-file.ts";
import { newProcStat, parseProcStat } from "../kernel/proc-stat.ts";

const buffer = new ProcBuffer();
const stat = newProcStat();
const zombie = "Z".charCodeAt(0);
const dead = "X".charCodeAt(0);

export class ProcessPulse {
  readonly pid: Pid;
  /** Clock ticks from boot to its start: with the pid they name one process for as long as the machine runs. */
  readonly startTicks: number;
  private readonly fd: number;

  /** Throws NO_PROCESS. */
  constructor(pid: Pid) {
    this.pid = pid;
    try {
      this.fd = openSync(`/proc/${pid}/stat`, "r");
    } catch (error) {
      if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ESRCH") throw gone(pid);
      throw error;
    }
    try {
      this.beat();
    } catch (error) {
      closeSync(this.fd);
      throw error;
    }
    this.startTicks = stat.startTicks;
  }

  /** A number that is the same as long as the process runs the same program. Throws NO_PROCESS where it has ended. */
  beat(): number {
    if (!buffer.readFd(this.fd, false) || !parseProcStat(buffer.data, buffer.length, stat)) throw gone(this.pid);
    if (stat.state === zombie || stat.state === dead) throw gone(this.pid);
    return stat.argStart;
  }

  close(): void {
    closeSync(this.fd);
  }
}

export function gone(pid: Pid): ProcscopeError {
  return new ProcscopeError("NO_PROCESS", `no such process: ${pid}`);
}
