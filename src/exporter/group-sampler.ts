/** Rates of groups between two scans: what `procscope groups` shows. */
import { performance } from "node:perf_hooks";
import type { ColumnGrouper } from "../proc/column-grouper.ts";
import { Counter, counterCount, Gauge, type Group } from "../proc/group.ts";
import type { ExitSource } from "../proc/sources/source.ts";
import { readGoGroups } from "./go-groups.ts";
import { type GoInsideProvider, GoLedger } from "./go-inside.ts";

/** Milliseconds for looking into Go processes in a sample. */
const goBudget = 200;

/** A group in the time between two scans. */
export interface GroupSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly processes: number;
  readonly threads: number;
  /** CPUs used on average: 1 is one CPU busy all the time. */
  readonly cpus: number;
  readonly residentBytes: number;
  readonly swapBytes: number;
  readonly readBytesPerSecond: number;
  readonly writeBytesPerSecond: number;
  readonly openFiles: number;
  /** Processes that ended and began. */
  readonly started: number;
  readonly exited: number;
  /** Goroutines of its Go processes; undefined where it has none or they are not read. */
  readonly goroutines: number | undefined;
}

export class GroupSampler {
  private readonly grouper: ColumnGrouper;
  private readonly exits: ExitSource | undefined;
  private readonly before = new Map<Group, Float64Array>();
  private takenAt = performance.now();
  private readonly go: GoInsideProvider | undefined;
  private readonly ledger = new GoLedger<Group>();

  /** Without `go`, nothing inside Go processes is read. */
  constructor(grouper: ColumnGrouper, exits: ExitSource | undefined, go: GoInsideProvider | undefined) {
    this.grouper = grouper;
    this.exits = exits;
    this.go = go;
  }

  /** Scans and gives what happened since the last call, groups that use most CPU first. The first gives no rates. */
  async sample(): Promise<GroupSample[]> {
    const { exits } = this;
    this.grouper.update(exits && (() => exits.drain()));
    const now = performance.now();
    const seconds = Math.max(1e-3, (now - this.takenAt) / 1000);
    this.takenAt = now;
    const inside = this.go && (await readGoGroups(this.grouper, this.go, "counts", goBudget, this.ledger));
    const samples: GroupSample[] = [];
    for (const group of this.grouper.groups) {
      const before = this.before.get(group) ?? new Float64Array(counterCount);
      samples.push({ ...sampleOf(group, before, seconds), goroutines: inside?.get(group)?.goroutines });
      this.before.set(group, group.counters.slice());
    }
    return samples.sort((a, b) => b.cpus - a.cpus || b.residentBytes - a.residentBytes);
  }
}

function sampleOf(
  { name, labels, counters, gauges }: Group,
  before: Float64Array,
  seconds: number,
): Omit<GroupSample, "goroutines"> {
  const growth = (counter: number): number => counters[counter]! - before[counter]!;
  return {
    name,
    labels,
    processes: gauges[Gauge.procs]!,
    threads: gauges[Gauge.threads]!,
    cpus: (growth(Counter.cpuUser) + growth(Counter.cpuSystem)) / 1e9 / seconds,
    residentBytes: gauges[Gauge.residentBytes]!,
    swapBytes: gauges[Gauge.swapBytes]!,
    readBytesPerSecond: growth(Counter.readBytes) / seconds,
    writeBytesPerSecond: growth(Counter.writeBytes) / seconds,
    openFiles: gauges[Gauge.openFiles]!,
    started: growth(Counter.started),
    exited: growth(Counter.exited),
  };
}
