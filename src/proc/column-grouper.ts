/**
 * The Grouper over columns: the same contract as {@link Grouper} (counters of a group never decrease, exited processes
 * stay counted, a process counts for the nearest wanted ancestor), for any ProcessSource, with more counters, exit
 * records and threads. It makes no object per process and scan; a test holds it against Grouper on the same histories.
 */
import { performance } from "node:perf_hooks";
import type { Seconds } from "../base/units.ts";
import { ticksPerSecond } from "../kernel/proc-stat.ts";
import { UserNames } from "../kernel/users.ts";
import { ExitLedger } from "./exit-ledger.ts";
import { Counter, Gauge, type Group, processCounterCount } from "./group.ts";
import { GroupSet } from "./group-set.ts";
import { cmdlineOf, LiveFacts, type Namer } from "./process-facts.ts";
import { hashWords, ignored, RowFlag, RowState, ungrouped } from "./row-state.ts";
import { type ExitRecord, Field, type ProcessSource } from "./sources/source.ts";
import { stateGauge } from "./state-gauge.ts";
import { ThreadGroups } from "./thread-groups.ts";

export interface ColumnGrouperOptions {
  readonly source: ProcessSource;
  readonly namer: Namer;
  /** Where procfs is mounted, for command lines and the like. */
  readonly mount: string;
  /** Seconds since 1970 at boot. */
  readonly bootTime: Seconds;
  /** A process that no rule wants counts for the group of its nearest wanted ancestor. */
  readonly trackChildren: boolean;
  readonly threads: boolean;
  readonly wchan: boolean;
  /** Look at the names and command lines of all processes again at each scan. */
  readonly recheck: boolean;
  /** Only while a process is younger than this; 0 for always. */
  readonly recheckLimit: Seconds;
  /** What a process used before it was first seen counts if it started after the first scan. False: never, as v0.1.0. */
  readonly countFromStart: boolean;
  /** Groups of their own; what comes after counts for "other". */
  readonly maxGroups: number;
  readonly maxThreadNames: number;
  /** Forget a group that has been empty for so long; 0: at once; Infinity: never. */
  readonly emptyGroupLife: Seconds;
  readonly users?: UserNames;
  /** Whether exit records will be given to applyExits(). */
  readonly exitRecords: boolean;
}

/** Errors that were met, counted since start. */
export interface ScanErrors {
  /** Scans that failed as a whole. */
  scans: number;
  /** Processes of which not even the basics could be read. */
  processes: number;
  /** Tracked processes of which a scan could not read everything for lack of rights. */
  partial: number;
}

export class ColumnGrouper {
  readonly groups: GroupSet;
  readonly errors: ScanErrors = { scans: 0, processes: 0, partial: 0 };
  readonly source: ProcessSource;
  readonly state = new RowState();
  readonly options: ColumnGrouperOptions;
  readonly users: UserNames;
  private readonly exits: ExitLedger;
  private readonly threadGroups: ThreadGroups;
  private scans = 0;
  /** The latest start that the first scan saw: who started later is young. */
  private firstScanStart = 0;
  /** Processes whose command line could not be read at their first sight. */
  private retry: number[] = [];
  /** The groups that rows had before they were named again in this update. */
  private readonly former = new Map<number, number>();
  /** Counted values of processes at the end of an earlier run, by "pid:start". */
  private resumed: ReadonlyMap<string, ArrayLike<number>> | undefined;

  constructor(options: ColumnGrouperOptions) {
    this.options = options;
    this.source = options.source;
    this.users = options.users ?? new UserNames();
    this.groups = new GroupSet(options.maxGroups);
    this.exits = new ExitLedger(this);
    this.threadGroups = new ThreadGroups(this);
    for (const { name, labels } of options.namer.fixedNames) this.groups.get(name, labels, true);
  }

  /** Starts where an earlier run ended: before the first scan only. `lastStart` is the latest start it knew of. */
  resume(counted: ReadonlyMap<string, ArrayLike<number>>, lastStart: number): void {
    this.resumed = counted;
    this.firstScanStart = lastStart;
  }

  /** The latest start of a process seen by the first scan, and of the earlier run. */
  get lastKnownStart(): number {
    return this.firstScanStart;
  }

  /**
   * Scans once and counts. Throws what the source throws: nothing is taken for gone then. `drainExits` is asked for the
   * exit records after the processes were read, so that one that ended in between is known to. `beforeCount` is called
   * when the groups of all processes are known and before their sizes are added up.
   */
  update(drainExits?: () => readonly ExitRecord[], beforeCount?: () => void): void {
    const { source, state, options } = this;
    try {
      source.scan({ threads: options.threads, wchan: options.wchan });
    } catch (error) {
      this.errors.scans++;
      throw error;
    }
    this.scans++;
    this.errors.processes += source.processes.unreadable;
    state.ensure(source.processes.capacity);
    this.resetBorn();
    this.nameAll();
    beforeCount?.();
    for (const group of this.groups) group.resetGauges();
    this.countAll();
    if (options.threads) this.threadGroups.update();
    if (drainExits) this.applyExits(drainExits());
    this.settleGone();
    this.settleEmpty();
    this.resumed = undefined;
  }

  /** Exit records that no group wanted. */
  get unattributedExits(): number {
    return this.exits.unattributed;
  }

  /** Counts exit records, at any time between updates: what a process used after its last scan, or all of one never seen. */
  applyExits(records: readonly ExitRecord[]): void {
    this.exits.apply(records);
  }

  /** Something was counted for a group: it is not to be forgotten before that was shown once. */
  touch(group: Group): void {
    group.lastPopulated = this.scans + 1;
  }

  /** The group of a live row, or undefined. */
  groupOf(row: number): Group | undefined {
    const index = this.state.group[row]!;
    return index > 0 ? this.groups.byIndex[index] : undefined;
  }

  private resetBorn(): void {
    const { state } = this;
    const { processes } = this.source;
    const { born, startTicks } = processes;
    const first = this.scans === 1;
    const continuing = this.resumed !== undefined;
    for (const row of born) {
      const start = startTicks[row]!;
      const young = this.options.countFromStart && (!first || continuing) && start >= this.firstScanStart;
      state.reset(row, young);
      if (this.exits.wasCounted(processes.id[row]!, start)) state.flags[row]! |= RowFlag.closed;
      const counted = this.resumed?.get(`${processes.id[row]}:${start}`);
      if (!counted) continue;
      for (let i = 0; i < processCounterCount; i++) state.counted[row * processCounterCount + i] = counted[i] ?? 0;
      state.based[row] = Field.base | Field.io | Field.switches;
      state.flags[row]! &= ~RowFlag.young;
    }
    if (!first) return;
    for (const row of born) this.firstScanStart = Math.max(this.firstScanStart, startTicks[row]!);
  }

  /** Finds the group of every process that is new or may have become another program. */
  private nameAll(): void {
    const unmatched: number[] = [];
    const again = this.candidates();
    const { seen, generation } = this.source.processes;
    for (const row of this.retry.splice(0)) if (seen[row] === generation) again.push(row);
    for (const row of this.source.processes.born) this.match(row, unmatched);
    for (const row of again) this.rematch(row, unmatched);
    for (const row of unmatched) this.groupByAncestor(row);
    this.former.clear();
  }

  /** Known rows whose name, program or (with recheck) command line changed. */
  private candidates(): number[] {
    const { state, options } = this;
    const { processes } = this.source;
    const { columns, live, count } = processes;
    const rows = new Set<number>();
    for (const row of processes.renamed) {
      // A process may rename itself without being another program: only a rule's own choice stays then.
      if (state.group[row]! <= 0 || state.flags[row]! & RowFlag.inherited || this.rechecks(row)) rows.add(row);
    }
    for (let i = 0; i < count; i++) {
      const row = live[i]!;
      if (columns.changed[row] === 0) continue;
      const mark = columns.valid[row]! & Field.exec ? columns.execMark[row]! : 0;
      if (mark !== 0 && mark !== state.execMark[row]) {
        if (state.execMark[row] !== 0) rows.add(row);
        state.execMark[row] = mark;
      }
      if (options.recheck && this.rechecks(row) && this.cmdlineChanged(row)) rows.add(row);
    }
    return [...rows];
  }

  private rechecks(row: number): boolean {
    const { recheck, recheckLimit, bootTime } = this.options;
    if (!recheck) return false;
    if (recheckLimit === 0) return true;
    return bootTime + this.source.processes.startTicks[row]! / ticksPerSecond + recheckLimit > Date.now() / 1000;
  }

  private cmdlineChanged(row: number): boolean {
    const { processes } = this.source;
    if (this.state.cmdlineHash[row] === 0 || processes.columns.kernelThread[row]) return false;
    const cmdline = this.readCmdline(row);
    return cmdline !== undefined && hashWords(cmdline) !== this.state.cmdlineHash[row];
  }

  /** The command line of a process, undefined where it ended meanwhile. */
  protected readCmdline(row: number): readonly string[] | undefined {
    return cmdlineOf(`${this.options.mount}/${this.source.processes.id[row]}`);
  }

  private rematch(row: number, unmatched: number[]): void {
    this.former.set(row, this.state.group[row]!);
    this.state.group[row] = ungrouped;
    this.match(row, unmatched);
  }

  private match(row: number, unmatched: number[]): void {
    const { processes } = this.source;
    const { state, options } = this;
    const { columns } = processes;
    const pid = processes.id[row]!;
    const dir = `${options.mount}/${pid}`;
    const cmdline = columns.kernelThread[row] ? [] : this.readCmdline(row);
    if (cmdline === undefined) {
      state.group[row] = this.former.get(row) ?? ungrouped;
      this.retry.push(row);
      return;
    }
    state.cmdlineHash[row] = hashWords(cmdline) || 1;
    const start = options.bootTime + processes.startTicks[row]! / ticksPerSecond;
    const uid = columns.valid[row]! & Field.owner ? columns.uid[row]! : -1;
    this.exits.learn(processes.comm[row]!, cmdline);
    const naming = options.namer.name(new LiveFacts(dir, pid, processes.comm[row]!, cmdline, start, uid, this.users));
    if (!naming) {
      unmatched.push(row);
      return;
    }
    state.flags[row]! &= ~RowFlag.inherited;
    this.join(row, this.groups.get(naming.name, naming.labels));
  }

  private join(row: number, group: Group): void {
    const { state } = this;
    state.group[row] = group.index;
    const joined = (this.scans > 1 || state.flags[row]! & RowFlag.young) && group.index !== this.former.get(row);
    if (joined && !(state.flags[row]! & RowFlag.closed)) group.counters[Counter.started]! += 1;
  }

  /** As Grouper does: the whole lineage of new processes at once, in any order. */
  private groupByAncestor(row: number): void {
    const { state } = this;
    if (state.group[row] !== ungrouped) return;
    if (!this.options.trackChildren) {
      state.group[row] = ignored;
      return;
    }
    const { processes } = this.source;
    const { seen, generation } = processes;
    const lineage: number[] = [];
    let group: number = ungrouped;
    for (let at = row; group === ungrouped && !lineage.includes(at); ) {
      lineage.push(at);
      const parent = processes.find(processes.columns.ppid[at]!);
      if (parent < 0 || seen[parent] !== generation) break;
      group = state.group[parent]!;
      at = parent;
    }
    for (const member of lineage) {
      if (group > 0) {
        state.flags[member]! |= RowFlag.inherited;
        this.join(member, this.groups.byIndex[group]!);
      } else state.group[member] = ignored;
    }
  }

  private countAll(): void {
    const { state, groups } = this;
    const { processes } = this.source;
    const { live, count } = processes;
    const byIndex = groups.byIndex;
    for (let i = 0; i < count; i++) {
      const row = live[i]!;
      const index = state.group[row]!;
      if (index <= 0) continue;
      const group = byIndex[index]!;
      if (!(state.flags[row]! & RowFlag.closed)) this.countRow(row, group);
      this.addGauges(row, group);
    }
  }

  private countRow(row: number, group: Group): void {
    const { columns } = this.source.processes;
    const { state } = this;
    const valid = columns.valid[row]!;
    if (columns.denied[row]) this.errors.partial++;
    if (columns.changed[row] === 0 && (state.based[row]! & valid) === (valid & counted)) return;
    const { counters } = group;
    if (this.hasBase(row, Field.base, valid)) {
      this.grow(row, counters, Counter.cpuUser, columns.utime[row]!);
      this.grow(row, counters, Counter.cpuSystem, columns.stime[row]!);
      this.grow(row, counters, Counter.minorFaults, columns.minorFaults[row]!);
      this.grow(row, counters, Counter.majorFaults, columns.majorFaults[row]!);
    }
    if (this.hasBase(row, Field.io, valid)) {
      this.grow(row, counters, Counter.readBytes, columns.readBytes[row]!);
      this.grow(row, counters, Counter.writeBytes, columns.writeBytes[row]!);
    }
    if (this.hasBase(row, Field.switches, valid)) {
      this.grow(row, counters, Counter.voluntarySwitches, columns.voluntarySwitches[row]!);
      this.grow(row, counters, Counter.nonvoluntarySwitches, columns.nonvoluntarySwitches[row]!);
    }
  }

  /** Whether the counters of a field can be counted; the first value of an older process only becomes its baseline. */
  private hasBase(row: number, field: number, valid: number): boolean {
    if (!(valid & field)) return false;
    const { state } = this;
    if (state.based[row]! & field) return true;
    state.based[row]! |= field;
    if (state.flags[row]! & RowFlag.young) return true;
    const { columns } = this.source.processes;
    const { counted } = state;
    const at = row * processCounterCount;
    if (field === Field.base) {
      counted[at + Counter.cpuUser] = columns.utime[row]!;
      counted[at + Counter.cpuSystem] = columns.stime[row]!;
      counted[at + Counter.minorFaults] = columns.minorFaults[row]!;
      counted[at + Counter.majorFaults] = columns.majorFaults[row]!;
    } else if (field === Field.io) {
      counted[at + Counter.readBytes] = columns.readBytes[row]!;
      counted[at + Counter.writeBytes] = columns.writeBytes[row]!;
    } else {
      counted[at + Counter.voluntarySwitches] = columns.voluntarySwitches[row]!;
      counted[at + Counter.nonvoluntarySwitches] = columns.nonvoluntarySwitches[row]!;
    }
    return false;
  }

  private grow(row: number, counters: Float64Array, counter: number, value: number): void {
    const { counted } = this.state;
    const at = row * processCounterCount + counter;
    // A counter that goes back is one that was read between two places; it counts on when it passes where it was.
    const growth = value - counted[at]!;
    if (growth <= 0) return;
    counters[counter]! += growth;
    counted[at] = value;
  }

  private addGauges(row: number, group: Group): void {
    const { columns, startTicks } = this.source.processes;
    const { gauges } = group;
    const valid = columns.valid[row]!;
    group.lastPopulated = this.scans;
    gauges[Gauge.procs]! += 1;
    gauges[Gauge.residentBytes]! += columns.residentBytes[row]!;
    gauges[Gauge.virtualBytes]! += columns.virtualBytes[row]!;
    gauges[Gauge.threads]! += columns.threads[row]!;
    if (valid & Field.swap) gauges[Gauge.swapBytes]! += columns.swapBytes[row]!;
    if (valid & Field.files) {
      const open = columns.openFiles[row]!;
      gauges[Gauge.openFiles]! += open;
      const ratio = valid & Field.limit && columns.fileLimit[row]! > 0 ? open / columns.fileLimit[row]! : 0;
      if (ratio > gauges[Gauge.worstFileRatio]!) gauges[Gauge.worstFileRatio] = ratio;
    }
    if (startTicks[row]! < gauges[Gauge.oldestStart]!) gauges[Gauge.oldestStart] = startTicks[row]!;
    gauges[Gauge.proportionalResident]! += this.state.proportionalResident[row]!;
    gauges[Gauge.proportionalSwapped]! += this.state.proportionalSwapped[row]!;
    const peak = valid & Field.peak ? columns.peakBytes[row]! : columns.residentBytes[row]!;
    if (peak > group.peakBytes) group.peakBytes = peak;
    // The states and waits of several threads are added up from their own rows.
    if (this.options.threads && columns.threads[row]! > 1) return;
    gauges[stateGauge(columns.state[row]!)]! += 1;
    const wchan = valid & Field.wchan ? columns.wchan[row]! : 0;
    if (wchan > 0) group.wchans.set(wchan, (group.wchans.get(wchan) ?? 0) + 1);
  }

  private settleGone(): void {
    const { gone } = this.source.processes;
    for (const row of gone) {
      const group = this.groupOf(row);
      if (!group) continue;
      if (!(this.state.flags[row]! & RowFlag.closed)) {
        group.counters[Counter.exited]! += 1;
        if (this.options.exitRecords) this.exits.remember(row, group);
      }
    }
    this.exits.endScan();
  }

  private settleEmpty(): void {
    const now = performance.now();
    for (const group of this.groups) {
      if (group.lastPopulated >= this.scans) {
        group.emptySince = undefined;
        continue;
      }
      group.emptySince ??= now;
      if (!group.fixed && now - group.emptySince >= this.options.emptyGroupLife * 1000) this.groups.remove(group);
    }
  }
}

/** Fields that hold counters. */
const counted = Field.base | Field.io | Field.switches;
