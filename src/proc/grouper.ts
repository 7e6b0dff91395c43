import type { Seconds } from "../base/units.ts";
import { addCounts, noCounts } from "./counts.ts";
import { type TrackedProc, Tracker, type TrackerOptions } from "./tracker.ts";
import { type Counts, type MatchNamer, type ProcIdInfo, type ProcIter, procKey } from "./types.ts";

/** Counters and current sizes of all processes of one group. */
export interface GroupCounts extends Counts {
  /** How many processes there are now. */
  readonly procs: number;
  /** Bytes of resident memory of these. */
  readonly memresident: bigint;
  /** Bytes of address space of these. */
  readonly memvirtual: bigint;
  /** When the oldest of them started; undefined where there is none. */
  readonly oldestStartTime: Date | undefined;
}

/** By group name. */
export type GroupCountMap = Map<string, GroupCounts>;

const emptyGroup: GroupCounts = {
  ...noCounts,
  procs: 0,
  memresident: 0n,
  memvirtual: 0n,
  oldestStartTime: undefined,
};

/**
 * Tracks processes and groups them by name. The counters of a group never decrease: what processes that have exited had
 * used stays in them.
 */
export class Grouper {
  /** Counters of each group up to the last groups(). */
  readonly groupStats = new Map<string, Counts>();
  readonly tracker: Tracker;
  private readonly trackChildren: boolean;
  private readonly namer: MatchNamer;
  private readonly compat: boolean;
  /** What was counted since the last groups(). Without `compat`, so that no update is lost or counted twice. */
  private readonly pending = new Map<string, Counts>();

  /** With `trackChildren`, a process that the namer does not want counts for the group of its nearest wanted ancestor. */
  constructor(trackChildren: boolean, namer: MatchNamer, options: TrackerOptions = {}) {
    this.trackChildren = trackChildren;
    this.namer = namer;
    this.tracker = new Tracker(options);
    this.compat = options.compat === "v0.1.0";
  }

  /**
   * Scans the processes. Returns how many may not be read; these are no error. Throws where the list could not be read:
   * what was seen of it is counted, and nothing is taken for gone.
   */
  update(iter: ProcIter): number {
    let result: ReturnType<Tracker["update"]>;
    try {
      result = this.tracker.update(iter);
    } catch (error) {
      this.collectPending();
      throw error;
    }
    this.trackNew(result.newProcs);
    this.collectPending();
    return result.permissionErrors;
  }

  /** All groups ever seen, by name. Calling it twice after one update gives the same twice. */
  groups(): GroupCountMap {
    if (this.compat) {
      for (const proc of this.tracker.tracked.values())
        if (proc) add(this.groupStats, proc.groupName, proc.getStats().latest);
    }
    for (const [name, counts] of this.pending) add(this.groupStats, name, counts);
    this.pending.clear();
    const current = this.current();
    const groups: GroupCountMap = new Map();
    for (const [name, counts] of this.groupStats) groups.set(name, { ...(current.get(name) ?? emptyGroup), ...counts });
    return groups;
  }

  private collectPending(): void {
    if (this.compat) return;
    for (const proc of this.tracker.tracked.values()) {
      if (!proc) continue;
      add(this.pending, proc.groupName, proc.takeGrowth());
    }
  }

  private current(): Map<string, GroupCounts> {
    const groups = new Map<string, GroupCounts>();
    for (const proc of this.tracker.tracked.values()) {
      if (proc) groups.set(proc.groupName, withProc(groups.get(proc.groupName) ?? emptyGroup, proc));
    }
    return groups;
  }

  private trackNew(newProcs: readonly ProcIdInfo[]): void {
    const unmatched = new Map<string, ProcIdInfo>();
    for (const proc of newProcs) {
      const { matched, name } = this.namer.matchAndName({ name: proc.name, cmdline: proc.cmdline });
      if (matched) this.tracker.track(name, proc);
      else unmatched.set(procKey(proc), proc);
    }
    if (!this.trackChildren) return;
    for (const proc of unmatched.values()) this.groupByAncestor(proc, unmatched);
  }

  /**
   * Tracks a process, and every new ancestor on the way, for the group of its nearest ancestor that is tracked, or
   * ignores them all where there is none.
   */
  private groupByAncestor(proc: ProcIdInfo, unmatched: ReadonlyMap<string, ProcIdInfo>): void {
    const { tracker } = this;
    const lineage: ProcIdInfo[] = [];
    const met = new Set<string>();
    let group: string | undefined;
    for (let at: ProcIdInfo | undefined = proc; at !== undefined; ) {
      const key = procKey(at);
      // A process that was its own ancestor is what a list read while pids were reused can show.
      if (met.has(key)) break;
      met.add(key);
      const known = tracker.tracked.get(key);
      if (known !== undefined) {
        group = known?.groupName;
        break;
      }
      lineage.push(at);
      const parentId = tracker.procIds.get(at.parentPid);
      if (!parentId) break;
      const parent = tracker.tracked.get(procKey(parentId));
      if (parent !== undefined) {
        group = parent?.groupName;
        break;
      }
      at = unmatched.get(procKey(parentId));
    }
    for (const member of lineage) {
      if (group === undefined) tracker.ignore(member);
      else tracker.track(group, member);
    }
  }
}

function add(groups: Map<string, Counts>, name: string, counts: Counts): void {
  groups.set(name, addCounts(groups.get(name) ?? noCounts, counts));
}

function withProc(group: GroupCounts, proc: TrackedProc): GroupCounts {
  const { memory, start } = proc.getStats();
  const oldest = group.oldestStartTime;
  return {
    ...noCounts,
    procs: group.procs + 1,
    memresident: group.memresident + memory.resident,
    memvirtual: group.memvirtual + memory.virtual,
    oldestStartTime: oldest === undefined || start < oldest ? start : oldest,
  };
}

/** The start of a group's oldest process in seconds since 1970, or undefined where it has none. */
export function oldestStartSeconds(group: GroupCounts): Seconds | undefined {
  return group.oldestStartTime === undefined ? undefined : group.oldestStartTime.getTime() / 1000;
}
