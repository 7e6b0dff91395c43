/** Why a process is in its group: which rule named it, or from which ancestor it has its group. */
import type { Pid } from "../base/units.ts";
import { readBootTime } from "../kernel/boot-time.ts";
import { procError, sharedProcBuffer } from "../kernel/proc-file.ts";
import { kernelThreadFlag, readProcStat, ticksPerSecond } from "../kernel/proc-stat.ts";
import { readProcStatus } from "../kernel/proc-status.ts";
import { UserNames } from "../kernel/users.ts";
import { cmdlineOf, LiveFacts, type Naming } from "../proc/process-facts.ts";
import type { RuleNamer, RuleOutcome } from "./rules.ts";

export interface ExplainedProcess {
  readonly pid: Pid;
  readonly parentPid: Pid;
  readonly comm: string;
  readonly cmdline: readonly string[];
  /** What each rule up to the one that matched made of it. */
  readonly rules: readonly RuleOutcome[];
}

export interface Explanation {
  /** The process asked about and then, where no rule named it, its ancestors up to the first that one did. */
  readonly lineage: readonly ExplainedProcess[];
  /** The group it counts for; undefined for none. */
  readonly group: Naming | undefined;
  /** Whether the group is an ancestor's. */
  readonly inherited: boolean;
}

/** Longer lineages do not occur: a list that is read while pids are reused may close on itself. */
const longestLineage = 256;

/** Explains a process as a scan would name it now. Throws NO_PROCESS or PERMISSION. */
export function explain(pid: Pid, namer: RuleNamer, trackChildren: boolean, mount: string): Explanation {
  const bootTime = readBootTime(mount);
  const users = new UserNames();
  const lineage: ExplainedProcess[] = [];
  for (let at = pid; lineage.length < longestLineage; ) {
    const process = explainOne(at, namer, mount, bootTime, users);
    lineage.push(process);
    const naming = process.rules.at(-1)?.naming;
    if (naming) return { lineage, group: naming, inherited: lineage.length > 1 };
    if (!trackChildren || process.parentPid < 1) break;
    at = process.parentPid;
  }
  return { lineage, group: undefined, inherited: false };
}

function explainOne(pid: Pid, namer: RuleNamer, mount: string, bootTime: number, users: UserNames): ExplainedProcess {
  const stat = readProcStat(pid, mount);
  const { uids } = readProcStatus(pid, mount);
  const dir = `${mount}/${pid}`;
  const cmdline = stat.flags & kernelThreadFlag ? [] : cmdlineOf(dir);
  if (cmdline === undefined) throw procError(pid, "cmdline", sharedProcBuffer.errno);
  const start = bootTime + stat.startTicks / ticksPerSecond;
  const facts = new LiveFacts(dir, pid, stat.comm, cmdline, start, uids[1] ?? -1, users);
  return { pid, parentPid: stat.parentPid, comm: stat.comm, cmdline, rules: namer.explain(facts) };
}
