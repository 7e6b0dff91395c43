/**
 * What is inside the Go processes of a group, read from outside: under the names that Go's own client library uses, with
 * the group's labels. The reading itself is given by a {@link GoInsideProvider}.
 */
import type { Pid } from "../base/units.ts";
import { type ExpositionWriter, type LabelSet, type Metric, metric } from "./exposition.ts";

export type GoLevel = "off" | "counts" | "full";

/** What one Go process said. */
export interface GoFacts {
  /** As runtime.Version(): "go1.22.1". */
  readonly version: string;
  readonly goroutines: number;
  /** Goroutines by the runtime's word for what they do: "running", "chan receive", "IO wait" … */
  readonly byState: ReadonlyMap<string, number>;
  /** Threads that the runtime created. */
  readonly threads: number | undefined;
  /**
   * Level "full": values by metric name as Go's client library names them, without "go_": memstats_heap_inuse_bytes,
   * memstats_mallocs_total … and gc_duration_seconds_sum and _count.
   */
  readonly values: ReadonlyMap<string, number>;
  /** Level "full": the pauses of recent garbage collections, in seconds. */
  readonly pauses: readonly number[];
}

export interface GoProcessRef {
  readonly pid: Pid;
  /** Start in ticks after boot: with the pid it tells whether what was learned of a process is still about it. */
  readonly startTicks: number;
  /** Differs after an execve; 0 where not known. */
  readonly execMark: number;
}

export interface GoInsideProvider {
  /**
   * Facts of those of the processes that are Go programs and could be read within `budget` milliseconds, by pid. Where
   * the time is up, what was read last for a process is given again. Never throws for a process that cannot be read.
   */
  read(
    processes: readonly GoProcessRef[],
    level: Exclude<GoLevel, "off">,
    budget: number,
  ): Promise<ReadonlyMap<Pid, GoFacts>>;
  close(): void;
}

const goroutines = metric("go_goroutines", "gauge", "Number of goroutines that currently exist.");
const threads = metric("go_threads", "gauge", "Number of OS threads created.");
const infoMetric = metric("go_info", "gauge", "Information about the Go environment.");
const byState = metric(
  "procscope_namegroup_go_goroutines_by_state",
  "gauge",
  "Number of goroutines of this group by what they do",
);
const processes = metric(
  "procscope_namegroup_go_processes",
  "gauge",
  "Go processes of this group that could be read from outside",
);

/** The families of level "full" by their names without "go_". */
const valueMetrics = new Map<string, Metric>();

/** Sum of what the Go processes of one group said. */
export class GoTotals {
  processes = 0;
  goroutines = 0;
  threads: number | undefined;
  readonly versions = new Set<string>();
  readonly byState = new Map<string, number>();
  readonly values = new Map<string, number>();
  readonly pauses: number[] = [];
}

/** Adds up what processes say, group by group; counters go on when a process ends. */
export class GoLedger<G> {
  /** Counter values by process, as they were added last. */
  private last = new Map<string, ReadonlyMap<string, number>>();
  /** Sums of the counters of each group since the start. */
  private readonly counters = new Map<G, Map<string, number>>();

  /** Sums for each group that has Go processes now. */
  add(facts: Iterable<readonly [process: GoProcessRef, group: G, facts: GoFacts]>): Map<G, GoTotals> {
    const groups = new Map<G, GoTotals>();
    const seen = new Map<string, ReadonlyMap<string, number>>();
    for (const [process, group, said] of facts) {
      let totals = groups.get(group);
      if (!totals) {
        totals = new GoTotals();
        groups.set(group, totals);
      }
      addGauges(totals, said);
      const key = `${process.pid}:${process.startTicks}:${process.execMark}`;
      seen.set(key, said.values);
      this.addCounters(group, said.values, this.last.get(key));
    }
    this.last = seen;
    for (const [group, totals] of groups) {
      for (const [name, value] of this.counters.get(group) ?? []) totals.values.set(name, value);
    }
    return groups;
  }

  private addCounters(
    group: G,
    now: ReadonlyMap<string, number>,
    before: ReadonlyMap<string, number> | undefined,
  ): void {
    let counters = this.counters.get(group);
    if (!counters) {
      counters = new Map();
      this.counters.set(group, counters);
    }
    for (const [name, value] of now) {
      if (!isCounter(name)) continue;
      const growth = Math.max(0, value - (before?.get(name) ?? 0));
      counters.set(name, (counters.get(name) ?? 0) + growth);
    }
  }
}

function isCounter(name: string): boolean {
  return name.endsWith("_total") || name.startsWith(summaryPrefix);
}

/** The names under which sum and count of the summary of pauses travel among the values. */
const summaryPrefix = "gc_duration_seconds_";

function addGauges(totals: GoTotals, facts: GoFacts): void {
  totals.processes++;
  totals.goroutines += facts.goroutines;
  totals.versions.add(facts.version);
  if (facts.threads !== undefined) totals.threads = (totals.threads ?? 0) + facts.threads;
  for (const [state, count] of facts.byState) totals.byState.set(state, (totals.byState.get(state) ?? 0) + count);
  totals.pauses.push(...facts.pauses);
  for (const [name, value] of facts.values) {
    // The latest of several moments; of everything else, the sum.
    if (name.endsWith("_time_seconds")) totals.values.set(name, Math.max(totals.values.get(name) ?? 0, value));
    else if (!isCounter(name)) totals.values.set(name, (totals.values.get(name) ?? 0) + value);
  }
}

export interface GoRow {
  readonly totals: GoTotals;
  readonly base: LabelSet;
  /** The group's labels with others. */
  with(key: string, more: () => Readonly<Record<string, string>>): LabelSet;
}

export function renderGoInside(writer: ExpositionWriter, rows: readonly GoRow[]): void {
  writer.family(processes);
  for (const row of rows) writer.sample(row.base, row.totals.processes);
  writer.family(goroutines);
  for (const row of rows) writer.sample(row.base, row.totals.goroutines);
  writer.family(byState);
  for (const row of rows) {
    for (const [state, count] of row.totals.byState) {
      writer.sample(
        row.with(`go ${state}`, () => ({ state })),
        count,
      );
    }
  }
  writer.family(threads);
  for (const row of rows) if (row.totals.threads !== undefined) writer.sample(row.base, row.totals.threads);
  writer.family(infoMetric);
  for (const row of rows) {
    for (const version of row.totals.versions) {
      writer.sample(
        row.with(`go ${version}`, () => ({ version })),
        1,
      );
    }
  }
  const names = new Set(rows.flatMap((row) => [...row.totals.values.keys()]));
  renderPauses(writer, rows);
  for (const name of [...names].filter((name) => !name.startsWith(summaryPrefix)).sort()) {
    writer.family(valueMetric(name));
    for (const row of rows) {
      const value = row.totals.values.get(name);
      if (value !== undefined) writer.sample(row.base, value);
    }
  }
}

const pauses = metric(
  "go_gc_duration_seconds",
  "summary",
  "A summary of the wall-time pause (stop-the-world) duration in garbage collection cycles.",
);
const quantiles = [0, 0.25, 0.5, 0.75, 1];

function renderPauses(writer: ExpositionWriter, rows: readonly GoRow[]): void {
  const counted = rows.filter((row) => row.totals.values.has(`${summaryPrefix}count`));
  if (counted.length === 0) return;
  writer.family(pauses);
  for (const row of counted) {
    const sorted = row.totals.pauses.sort((a, b) => a - b);
    for (const quantile of quantiles) {
      const labels = row.with(`quantile ${quantile}`, () => ({ quantile: String(quantile) }));
      writer.sample(labels, sorted[Math.round(quantile * (sorted.length - 1))] ?? 0);
    }
    writer.suffixed("_sum", row.base, row.totals.values.get(`${summaryPrefix}sum`) ?? 0);
    writer.suffixed("_count", row.base, row.totals.values.get(`${summaryPrefix}count`) ?? 0);
  }
}

function valueMetric(name: string): Metric {
  let known = valueMetrics.get(name);
  if (!known) {
    const help = `${name.replaceAll("_", " ")} of the Go processes, as runtime.MemStats tells`;
    known = metric(`go_${name}`, isCounter(name) ? "counter" : "gauge", help);
    valueMetrics.set(name, known);
  }
  return known;
}
