import { ProcscopeError } from "../base/errors.ts";
import type { Pid } from "../base/units.ts";
import { addCounts, countsSince, noCounts } from "./counts.ts";
import { type Counts, type Memory, type Proc, type ProcId, ProcIdInfo, type ProcIter, procKey } from "./types.ts";

export interface TrackerOptions {
  /** "v0.1.0": reproduce what process-exporter's package v0.1.0 does where it breaks its own promises. */
  readonly compat?: "v0.1.0" | undefined;
  /**
   * Count the whole usage of a process that is first seen after the first update, for it all happened since. False, as
   * in v0.1.0: what a process used before it was first seen is never counted.
   */
  readonly countFromStart?: boolean;
}

/** What TrackedProc.getStats() gives. */
export interface ProcStats {
  /** Counters since the process was first seen. */
  readonly aggregate: Counts;
  /** How much they grew at the last update. */
  readonly latest: Counts;
  readonly memory: Memory;
  /** When the process started. */
  readonly start: Date;
}

/** A process that is tracked, with the group it counts for. */
export class TrackedProc {
  readonly groupName: string;
  /** Number of the update that saw it last. */
  private lastUpdate: number;
  private info: ProcIdInfo;
  private aggregate: Counts;
  private latest: Counts;
  /** What grew since takeGrowth() was called last. */
  private growth: Counts;

  constructor(groupName: string, info: ProcIdInfo, update: number, initial: Counts) {
    this.groupName = groupName;
    this.info = info;
    this.lastUpdate = update;
    this.aggregate = initial;
    this.latest = initial;
    this.growth = initial;
  }

  /** The command name it had when it was first seen. */
  getName(): string {
    return this.info.name;
  }

  getCmdLine(): readonly string[] {
    return this.info.cmdline;
  }

  getStats(): ProcStats {
    const { info, aggregate, latest } = this;
    return {
      aggregate,
      latest,
      memory: { resident: info.residentBytes, virtual: info.virtualBytes },
      start: info.startTime,
    };
  }

  /** @internal Takes new metrics; the growth becomes `latest`. */
  update(next: ProcIdInfo, update: number, exact: boolean): void {
    this.latest = countsSince(this.info, next, exact);
    this.aggregate = addCounts(this.aggregate, this.latest);
    this.growth = addCounts(this.growth, this.latest);
    this.info = next;
    this.lastUpdate = update;
  }

  /** @internal It was seen, but could not be read: nothing grew. */
  seen(update: number): void {
    this.latest = noCounts;
    this.lastUpdate = update;
  }

  /** @internal How much the counters grew since the last call, over any number of updates. */
  takeGrowth(): Counts {
    const { growth } = this;
    this.growth = noCounts;
    return growth;
  }

  /** @internal */
  wasSeenAt(update: number): boolean {
    return this.lastUpdate === update;
  }

  /** @internal The metrics seen last. */
  get last(): ProcIdInfo {
    return this.info;
  }
}

/** Tracks processes and records how much they use from one update to the next. */
export class Tracker {
  /**
   * The processes known, by procKey(id). null: ignored, not read any further; a caller may set it for a process that it
   * does not want to track any more.
   */
  readonly tracked = new Map<string, TrackedProc | null>();
  /** By pid, to find the entry of a parent. */
  readonly procIds = new Map<Pid, ProcId>();
  private readonly options: TrackerOptions;
  private updates = 0;
  /** Ignored because of a permission error: looked at again, for the rights may come. */
  private readonly denied = new Set<string>();
  /** Those that the first update met and that still live: what they had used by then is not counted. */
  private readonly older = new Set<string>();

  constructor(options: TrackerOptions = {}) {
    this.options = options;
  }

  /** Tracks a process for a group from now on: what it has used so far is the baseline and not counted. */
  track(groupName: string, idInfo: ProcIdInfo): void {
    const fromStart = this.options.countFromStart === true && this.updates > 0 && !this.older.has(procKey(idInfo));
    const initial = fromStart
      ? { cpu: idInfo.cpuTime, readBytes: idInfo.readBytes, writeBytes: idInfo.writeBytes }
      : noCounts;
    this.tracked.set(procKey(idInfo), new TrackedProc(groupName, idInfo, this.updates, initial));
  }

  /** Does not look at a process any more. */
  ignore(id: ProcId): void {
    this.tracked.set(procKey(id), null);
  }

  /**
   * Scans: updates the tracked processes, removes those that are gone and returns the ones that are neither tracked nor
   * ignored. Processes that may not be read are counted, never an error. Throws what the iterator's close() throws:
   * nothing is removed then.
   */
  update(iter: ProcIter): { newProcs: ProcIdInfo[]; permissionErrors: number } {
    this.updates++;
    const newProcs: ProcIdInfo[] = [];
    const present = new Set<string>();
    let permissionErrors = 0;
    while (iter.next()) {
      const result = this.visit(iter, present);
      if (result === "denied") permissionErrors++;
      else if (result) newProcs.push(result);
    }
    try {
      iter.close();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new ProcscopeError("UNREADABLE", `error reading processes: ${reason}`, { cause });
    }
    this.prune(present);
    return { newProcs, permissionErrors };
  }

  private visit(proc: Proc, present: Set<string>): ProcIdInfo | "denied" | undefined {
    const compat = this.options.compat === "v0.1.0";
    let id: ProcId;
    try {
      id = proc.getProcId();
    } catch {
      return undefined;
    }
    const key = procKey(id);
    present.add(key);
    if (this.updates === 1) this.older.add(key);
    const known = this.tracked.get(key);
    if (known === null && (compat || !this.denied.has(key))) return undefined;
    let next: ProcIdInfo;
    try {
      const metrics = proc.getMetrics();
      // The details of a process are those of its first sight.
      next = new ProcIdInfo(id, known ? known.last : proc.getStatic(), metrics);
    } catch (error) {
      return this.failed(error, id, known);
    }
    const wasDenied = this.denied.delete(key);
    if (known) {
      known.update(next, this.updates, compat);
      return undefined;
    }
    if (wasDenied) this.tracked.delete(key);
    this.replacePid(id);
    return next;
  }

  private failed(error: unknown, id: ProcId, known: TrackedProc | null | undefined): "denied" | undefined {
    const compat = this.options.compat === "v0.1.0";
    const isDenied = error instanceof ProcscopeError && error.code === "PERMISSION";
    if (!isDenied) {
      // v0.1.0 lost a process over one failed read and began anew at the next; it is there, so it stays.
      if (known && !compat && !(error instanceof ProcscopeError && error.code === "NO_PROCESS"))
        known.seen(this.updates);
      return undefined;
    }
    const key = procKey(id);
    const first = !this.denied.has(key);
    this.denied.add(key);
    if (known && !compat) known.seen(this.updates);
    else this.ignore(id);
    return first ? "denied" : undefined;
  }

  /** A pid that is given to a new process ends the old one's entry, which prune() would otherwise not tell apart. */
  private replacePid(id: ProcId): void {
    const old = this.procIds.get(id.pid);
    if (old && old.startTimeRel !== id.startTimeRel) this.tracked.delete(procKey(old));
    this.procIds.set(id.pid, id);
  }

  private prune(present: ReadonlySet<string>): void {
    const compat = this.options.compat === "v0.1.0";
    for (const [key, proc] of this.tracked) {
      // v0.1.0 kept ignored processes for ever.
      const gone = proc === null ? !compat && !present.has(key) : !proc.wasSeenAt(this.updates);
      if (!gone) continue;
      this.tracked.delete(key);
      const pid = Number(key.slice(0, key.indexOf(":")));
      const current = this.procIds.get(pid);
      if (current && procKey(current) === key) this.procIds.delete(pid);
    }
    for (const set of [this.denied, this.older]) for (const key of set) if (!present.has(key)) set.delete(key);
    if (compat) return;
    for (const [pid, id] of this.procIds) if (!present.has(procKey(id))) this.procIds.delete(pid);
  }
}
