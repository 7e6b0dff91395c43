/**
 * Gives exit records to groups, each nanosecond once: of a process that scans have seen, what it used after the last of
 * them; of one that none saw, all.
 *
 * The group of a process that was never seen is found as for a living one, with what the record knows: its rule by
 * command name and command line, where an exec told it (or its parent has it, if it never did an exec); otherwise with
 * the command line last seen for that name, otherwise with the name standing for the command line; then the group of
 * its parent, which may itself be a record of the same batch.
 */
import { ticksPerSecond } from "../kernel/proc-stat.ts";
import type { ColumnGrouper } from "./column-grouper.ts";
import { Counter, type Group, processCounterCount } from "./group.ts";
import type { ProcessFacts } from "./process-facts.ts";
import { RowFlag, ungrouped } from "./row-state.ts";
import type { ExitRecord } from "./sources/source.ts";

/** A process that scans have seen and then missed, whose record has not come yet. */
interface Departed {
  readonly startTicks: number;
  readonly group: Group;
  readonly counted: Float64Array;
  readonly generation: number;
}

/** How many scans a record may come late, and a process that was counted whole may still show. */
const lateScans = 3;
/** Records tell the start in whole seconds at worst. */
const startTolerance = 2;
const mostLearned = 4096;
/** kthreadd: parent of all kernel threads. */
const kernelParent = 2;

/** Counters of a process in the order of Counter, from a record. */
type Totals = readonly number[];

export class ExitLedger {
  private readonly grouper: ColumnGrouper;
  private readonly departed = new Map<number, Departed>();
  /** Processes that were counted whole, by pid: their zombies may still show up in a scan. */
  private readonly whole = new Map<number, { record: ExitRecord; generation: number }>();
  /** The last command line seen for each command name. */
  private readonly learned = new Map<string, readonly string[]>();
  /** Groups of the processes of the batch at hand that no scan has seen. */
  private readonly batchGroups = new Map<number, Group | undefined>();
  /** Records that no group wanted. */
  unattributed = 0;

  constructor(grouper: ColumnGrouper) {
    this.grouper = grouper;
  }

  /** Remembers the command line of a living process for those of its name that no scan will see. */
  learn(comm: string, cmdline: readonly string[]): void {
    if (!this.grouper.options.exitRecords || cmdline.length === 0) return;
    if (this.learned.size < mostLearned || this.learned.has(comm)) this.learned.set(comm, cmdline);
  }

  /** Whether a process that a scan shows for the first time was already counted whole: it is a zombie. */
  wasCounted(pid: number, startTicks: number): boolean {
    const known = this.whole.get(pid);
    return known !== undefined && this.isStart(known.record, startTicks);
  }

  /** A process of a group was missed by a scan: its record may still come. */
  remember(row: number, group: Group): void {
    const { processes } = this.grouper.source;
    const at = row * processCounterCount;
    this.departed.set(processes.id[row]!, {
      startTicks: processes.startTicks[row]!,
      group,
      counted: this.grouper.state.counted.slice(at, at + processCounterCount),
      generation: processes.generation,
    });
  }

  /** Forgets what is too old to matter. */
  endScan(): void {
    const { generation } = this.grouper.source.processes;
    for (const map of [this.departed, this.whole]) {
      for (const [pid, entry] of map) {
        // Entries are in the order they were made.
        if (entry.generation + lateScans > generation) break;
        map.delete(pid);
      }
    }
  }

  apply(records: readonly ExitRecord[]): void {
    if (records.length === 0) return;
    const byPid = new Map<number, ExitRecord>();
    for (const record of records) byPid.set(record.pid, record);
    for (const record of records) this.applyOne(record, byPid);
    this.batchGroups.clear();
  }

  private applyOne(record: ExitRecord, batch: ReadonlyMap<number, ExitRecord>): void {
    const departed = this.departed.get(record.pid);
    if (departed && this.isStart(record, departed.startTicks)) {
      this.departed.delete(record.pid);
      addRest(departed.group, record, departed.counted);
      this.close(departed.group, record, false);
      return;
    }
    const row = this.rowOf(record);
    // A row without a group yet is one that ended before its command line could be read.
    if (row >= 0 && this.grouper.state.group[row] !== ungrouped) this.closeRow(row, record);
    else this.closeUnseen(record, batch, row);
  }

  private closeRow(row: number, record: ExitRecord): void {
    const { state } = this.grouper;
    if (state.flags[row]! & RowFlag.closed) return;
    state.flags[row]! |= RowFlag.closed;
    const group = this.grouper.groupOf(row);
    if (!group) return;
    const at = row * processCounterCount;
    const young = (state.flags[row]! & RowFlag.young) !== 0;
    // Without a baseline there is no telling what of it is new.
    if (young || state.based[row] !== 0) addRest(group, record, state.counted.subarray(at, at + processCounterCount));
    this.close(group, record, true);
  }

  private closeUnseen(record: ExitRecord, batch: ReadonlyMap<number, ExitRecord>, row: number): void {
    if (row >= 0) this.grouper.state.flags[row]! |= RowFlag.closed;
    const group = this.groupOfUnseen(record, batch, 0);
    if (!group) {
      this.unattributed++;
      return;
    }
    addRest(group, record, undefined);
    group.counters[Counter.started]! += 1;
    this.close(group, record, true);
    this.whole.delete(record.pid);
    this.whole.set(record.pid, { record, generation: this.grouper.source.processes.generation });
  }

  /** The row of the process that a record is about; -1 where no scan saw it. */
  private rowOf(record: ExitRecord): number {
    const { processes } = this.grouper.source;
    const row = processes.find(record.pid);
    if (row >= 0 && this.isStart(record, processes.startTicks[row]!)) return row;
    // Its pid may already be another's: then its row is among the missed ones, found by no id.
    for (const gone of processes.gone) {
      if (processes.id[gone] === record.pid && this.isStart(record, processes.startTicks[gone]!)) return gone;
    }
    return -1;
  }

  private isStart(record: ExitRecord, startTicks: number): boolean {
    if (record.startTicks !== undefined) return record.startTicks === startTicks;
    if (record.startTime === undefined) return true;
    const start = this.grouper.options.bootTime + startTicks / ticksPerSecond;
    return Math.abs(record.startTime - start) <= startTolerance;
  }

  private groupOfUnseen(record: ExitRecord, batch: ReadonlyMap<number, ExitRecord>, depth: number): Group | undefined {
    if (record.ppid === kernelParent) return undefined;
    if (this.batchGroups.has(record.pid)) return this.batchGroups.get(record.pid);
    // So that a lineage that closes on itself (ids reused within the batch) ends.
    this.batchGroups.set(record.pid, undefined);
    const { options, groups } = this.grouper;
    const naming = options.namer.name(this.factsOf(record));
    let group = naming && groups.get(naming.name, naming.labels);
    if (!group && options.trackChildren && depth < 64) group = this.groupOfParent(record, batch, depth);
    this.batchGroups.set(record.pid, group);
    return group;
  }

  private groupOfParent(record: ExitRecord, batch: ReadonlyMap<number, ExitRecord>, depth: number): Group | undefined {
    const { processes } = this.grouper.source;
    const row = processes.find(record.ppid);
    if (row >= 0) return this.grouper.groupOf(row);
    const departed = this.departed.get(record.ppid);
    if (departed) return departed.group;
    const parent = batch.get(record.ppid);
    return parent ? this.groupOfUnseen(parent, batch, depth + 1) : undefined;
  }

  private factsOf(record: ExitRecord): ProcessFacts {
    const { bootTime } = this.grouper.options;
    const startTime =
      record.startTicks === undefined ? (record.startTime ?? bootTime) : bootTime + record.startTicks / ticksPerSecond;
    return {
      pid: record.pid,
      comm: record.comm,
      cmdline: record.cmdline ?? this.learned.get(record.comm) ?? [record.comm],
      startTime,
      username: this.grouper.users.name(record.uid),
      cgroups: [],
      exe: "",
    };
  }

  private close(group: Group, record: ExitRecord, countExit: boolean): void {
    const { counters, exits } = group;
    this.grouper.touch(group);
    if (countExit) counters[Counter.exited]! += 1;
    const how = record.signal > 0 ? -record.signal : record.exitCode;
    exits.set(how, (exits.get(how) ?? 0) + 1);
    if (record.peakBytes !== undefined && record.peakBytes > group.peakBytes) group.peakBytes = record.peakBytes;
    counters[Counter.delayCpu]! += record.delays.cpu;
    counters[Counter.delayBlockIo]! += record.delays.blockIo;
    counters[Counter.delaySwap]! += record.delays.swap;
  }
}

function totals(record: ExitRecord): Totals {
  return [
    record.utime,
    record.stime,
    record.readBytes,
    record.writeBytes,
    record.minorFaults,
    record.majorFaults,
    record.voluntarySwitches,
    record.nonvoluntarySwitches,
  ];
}

/** Adds what a record shows beyond what was counted. */
function addRest(group: Group, record: ExitRecord, counted: Float64Array | undefined): void {
  const { counters } = group;
  const total = totals(record);
  for (let i = Counter.readBytes; i < processCounterCount; i++) {
    counters[i]! += Math.max(0, total[i]! - (counted?.[i] ?? 0));
  }
  // Records and scans divide the same CPU time between user and kernel in different ways (ticks against scaled run
  // time): only the sum can be compared, and its rest is divided as the record has it.
  const before = counted ? counted[Counter.cpuUser]! + counted[Counter.cpuSystem]! : 0;
  const cpu = record.utime + record.stime;
  const rest = Math.max(0, cpu - before);
  if (rest === 0) return;
  counters[Counter.cpuUser]! += (rest * record.utime) / cpu;
  counters[Counter.cpuSystem]! += (rest * record.stime) / cpu;
  counters[Counter.cpuFromExits]! += rest;
}
