import { readdirSync } from "node:fs";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import type { Pid, Seconds } from "../base/units.ts";
import { readBootTime } from "../kernel/boot-time.ts";
import { readCmdline } from "../kernel/proc-cmdline.ts";
import { ProcBuffer, procError } from "../kernel/proc-file.ts";
import { parseProcIo } from "../kernel/proc-io.ts";
import { newProcStat, pageSize, parseProcStat, ticksPerSecond } from "../kernel/proc-stat.ts";
import { ListIter } from "./iter.ts";
import type { Proc, ProcId, ProcIter, ProcMetrics, ProcStatic, Source } from "./types.ts";

/** The processes of a procfs mount: /proc, a host's /proc in a container, or a copy of one. */
export class FS implements Source {
  readonly mountPoint: string;
  /** When the machine booted, in seconds since 1970. */
  readonly bootTime: Seconds;

  /** Throws UNREADABLE where the mount point is not a procfs that can be read. */
  constructor(mountPoint = "/proc") {
    this.mountPoint = mountPoint;
    this.bootTime = readBootTime(mountPoint);
  }

  /** All processes at this moment. Never throws: where the list cannot be read, it is empty and close() tells. */
  allProcs(): ProcIter {
    const pids: number[] = [];
    let error: ProcscopeError | undefined;
    try {
      for (const name of readdirSync(this.mountPoint)) if (/^[1-9]\d*$/.test(name)) pids.push(Number(name));
    } catch (cause) {
      error = new ProcscopeError("UNREADABLE", `cannot list ${this.mountPoint}: ${errnoOf(cause) ?? cause}`, { cause });
    }
    const buffer = new ProcBuffer();
    return new ListIter(pids.length, (index) => new FsProc(this, pids[index]!, buffer), error);
  }

  /** One process by its id. */
  proc(pid: Pid): Proc {
    return new FsProc(this, pid, new ProcBuffer());
  }
}

/** A process under a mount; its stat file is read once, so that id, details and metrics are of one moment. */
class FsProc implements Proc {
  private readonly fs: FS;
  private readonly pid: Pid;
  private readonly buffer: ProcBuffer;
  private stat: (ReturnType<typeof newProcStat> & { comm: string }) | undefined;

  constructor(fs: FS, pid: Pid, buffer: ProcBuffer) {
    this.fs = fs;
    this.pid = pid;
    this.buffer = buffer;
  }

  getPid(): Pid {
    return this.pid;
  }

  getProcId(): ProcId {
    return { pid: this.pid, startTimeRel: this.readStat().startTicks };
  }

  getStatic(): ProcStatic {
    const stat = this.readStat();
    const cmdline = readCmdline(this.dir(), this.buffer);
    if (!cmdline) throw procError(this.pid, "cmdline", this.buffer.errno);
    return {
      name: stat.comm,
      cmdline,
      parentPid: stat.parentPid,
      startTime: new Date(this.fs.bootTime * 1000 + (stat.startTicks * 1000) / ticksPerSecond),
    };
  }

  getMetrics(): ProcMetrics {
    const stat = this.readStat();
    const io = { readBytes: 0, writeBytes: 0 };
    if (!this.buffer.readOnce(`${this.dir()}/io`)) throw procError(this.pid, "io", this.buffer.errno);
    if (!parseProcIo(this.buffer.data, this.buffer.length, io)) throw procError(this.pid, "io", "EINVAL");
    return {
      cpuTime: (stat.userTicks + stat.systemTicks) / ticksPerSecond,
      readBytes: BigInt(io.readBytes),
      writeBytes: BigInt(io.writeBytes),
      residentBytes: BigInt(stat.residentPages * pageSize),
      virtualBytes: BigInt(stat.virtualBytes),
    };
  }

  private dir(): string {
    return `${this.fs.mountPoint}/${this.pid}`;
  }

  private readStat(): ReturnType<typeof newProcStat> & { comm: string } {
    if (this.stat) return this.stat;
    const stat = newProcStat();
    const { buffer } = this;
    if (!buffer.readOnce(`${this.dir()}/stat`)) throw procError(this.pid, "stat", buffer.errno);
    if (!parseProcStat(buffer.data, buffer.length, stat)) throw procError(this.pid, "stat", "EINVAL");
    this.stat = { ...stat, comm: buffer.text(stat.commStart, stat.commEnd) };
    return this.stat;
  }
}
