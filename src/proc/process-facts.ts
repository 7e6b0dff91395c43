/** What a naming rule may ask about a process; what costs a read is read when it is first asked for. */
import { readlinkSync } from "node:fs";
import type { Pid, Seconds } from "../base/units.ts";
import { readCgroups } from "../kernel/proc-cgroup.ts";
import { readCmdline } from "../kernel/proc-cmdline.ts";
import { type ProcBuffer, sharedProcBuffer } from "../kernel/proc-file.ts";
import type { UserNames } from "../kernel/users.ts";

export interface ProcessFacts {
  readonly pid: Pid;
  readonly comm: string;
  readonly cmdline: readonly string[];
  /** Seconds since 1970. */
  readonly startTime: Seconds;
  /** Effective user. */
  readonly username: string;
  /** Paths of its control groups, one a hierarchy. */
  readonly cgroups: readonly string[];
  /** The path of its executable file, not what argv claims; "" where it may not be read. */
  readonly exe: string;
}

/** A name for a process, with which rule gave it. */
export interface Naming {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Decides which group a process belongs to. */
export interface Namer {
  name(process: ProcessFacts): Naming | undefined;
  /** Labels for a group that a process joins through its parent; they are its own where they tell who it is. */
  readonly fixedNames: readonly Naming[];
}

/** Facts of a living process, from procfs. */
export class LiveFacts implements ProcessFacts {
  readonly pid: Pid;
  readonly comm: string;
  readonly cmdline: readonly string[];
  readonly startTime: Seconds;
  private readonly dir: string;
  private readonly uid: number;
  private readonly users: UserNames;
  private knownCgroups: readonly string[] | undefined;

  constructor(
    dir: string,
    pid: Pid,
    comm: string,
    cmdline: readonly string[],
    startTime: Seconds,
    uid: number,
    users: UserNames,
  ) {
    this.dir = dir;
    this.pid = pid;
    this.comm = comm;
    this.cmdline = cmdline;
    this.startTime = startTime;
    this.uid = uid;
    this.users = users;
  }

  get username(): string {
    return this.uid < 0 ? "" : this.users.name(this.uid);
  }

  get cgroups(): readonly string[] {
    this.knownCgroups ??= readCgroups(this.dir) ?? [];
    return this.knownCgroups;
  }

  get exe(): string {
    try {
      return readlinkSync(`${this.dir}/exe`);
    } catch {
      return "";
    }
  }
}

/** The command line of a process, or undefined where it is gone. One that may not be read counts as empty. */
export function cmdlineOf(dir: string, buffer: ProcBuffer = sharedProcBuffer): readonly string[] | undefined {
  const cmdline = readCmdline(dir, buffer);
  if (cmdline) return cmdline;
  return buffer.errno === "ENOENT" || buffer.errno === "ESRCH" ? undefined : [];
}
