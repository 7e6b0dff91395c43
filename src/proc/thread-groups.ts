/** Sums the threads of each group by their names. */
import type { ColumnGrouper } from "./column-grouper.ts";
import { Counter, type Group, processCounterCount, type ThreadGroup } from "./group.ts";
import { RowFlag } from "./row-state.ts";
import { grown } from "./sources/row-table.ts";
import { stateGauge } from "./state-gauge.ts";

export class ThreadGroups {
  private readonly grouper: ColumnGrouper;
  private capacity = 256;
  /** The counters as they were counted last; processCounterCount a row. */
  private counted: Float64Array = new Float64Array(256 * processCounterCount);
  /** What each row counts for, to look its name up only when it or its process's group changed. */
  private readonly target: (ThreadGroup | undefined)[] = [];
  private readonly group: (Group | undefined)[] = [];
  private firstScan = true;
  private firstScanStart = 0;

  constructor(grouper: ColumnGrouper) {
    this.grouper = grouper;
  }

  /** Counts the threads of the scan that was just made. */
  update(): void {
    const { threads, processes } = this.grouper.source;
    this.ensure(threads.capacity);
    for (const row of threads.born) this.begin(row);
    for (const row of threads.renamed) this.target[row] = undefined;
    const { live, count, columns } = threads;
    for (let i = 0; i < count; i++) {
      const row = live[i]!;
      const process = columns.process[row]!;
      const group = this.grouper.groupOf(process);
      if (!group) continue;
      if (processes.columns.threads[process]! > 1) this.addGauges(row, process, group);
      if (!(this.grouper.state.flags[process]! & RowFlag.closed)) this.count(row, group);
    }
    for (const row of threads.gone) {
      this.target[row] = undefined;
      this.group[row] = undefined;
    }
    if (this.firstScan) {
      this.firstScan = false;
      for (const row of threads.born) {
        this.firstScanStart = Math.max(this.firstScanStart, threads.startTicks[row]!);
      }
    }
  }

  private ensure(capacity: number): void {
    while (this.capacity < capacity) {
      this.capacity *= 2;
      this.counted = grown(this.counted);
    }
  }

  /** A thread that started after the first scan counts whole, an older one from now on. */
  private begin(row: number): void {
    const { columns, startTicks } = this.grouper.source.threads;
    const at = row * processCounterCount;
    const { counted } = this;
    this.target[row] = undefined;
    this.group[row] = undefined;
    const young =
      this.grouper.options.countFromStart &&
      !this.firstScan &&
      startTicks[row]! >= Math.max(this.firstScanStart, this.grouper.lastKnownStart);
    if (young) {
      counted.fill(0, at, at + processCounterCount);
      return;
    }
    counted[at + Counter.cpuUser] = columns.utime[row]!;
    counted[at + Counter.cpuSystem] = columns.stime[row]!;
    counted[at + Counter.readBytes] = columns.readBytes[row]!;
    counted[at + Counter.writeBytes] = columns.writeBytes[row]!;
    counted[at + Counter.minorFaults] = columns.minorFaults[row]!;
    counted[at + Counter.majorFaults] = columns.majorFaults[row]!;
    counted[at + Counter.voluntarySwitches] = columns.voluntarySwitches[row]!;
    counted[at + Counter.nonvoluntarySwitches] = columns.nonvoluntarySwitches[row]!;
  }

  private targetOf(row: number, group: Group): ThreadGroup {
    const known = this.target[row];
    if (known && this.group[row] === group) return known;
    const target = group.thread(this.grouper.source.threads.comm[row]!, this.grouper.options.maxThreadNames);
    this.target[row] = target;
    this.group[row] = group;
    return target;
  }

  private addGauges(row: number, process: number, group: Group): void {
    const { columns } = this.grouper.source.threads;
    this.targetOf(row, group).count++;
    group.gauges[stateGauge(columns.state[row]!)]! += 1;
    const wchan = columns.wchan[row]!;
    if (wchan > 0 && process >= 0) group.wchans.set(wchan, (group.wchans.get(wchan) ?? 0) + 1);
  }

  private count(row: number, group: Group): void {
    const { columns } = this.grouper.source.threads;
    const { counters } = this.targetOf(row, group);
    this.grow(row, counters, Counter.cpuUser, columns.utime[row]!);
    this.grow(row, counters, Counter.cpuSystem, columns.stime[row]!);
    this.grow(row, counters, Counter.readBytes, columns.readBytes[row]!);
    this.grow(row, counters, Counter.writeBytes, columns.writeBytes[row]!);
    this.grow(row, counters, Counter.minorFaults, columns.minorFaults[row]!);
    this.grow(row, counters, Counter.majorFaults, columns.majorFaults[row]!);
    this.grow(row, counters, Counter.voluntarySwitches, columns.voluntarySwitches[row]!);
    this.grow(row, counters, Counter.nonvoluntarySwitches, columns.nonvoluntarySwitches[row]!);
  }

  private grow(row: number, counters: Float64Array, counter: number, value: number): void {
    const at = row * processCounterCount + counter;
    const growth = value - this.counted[at]!;
    if (growth <= 0) return;
    counters[counter]! += growth;
    this.counted[at] = value;
  }
}
