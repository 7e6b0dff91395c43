/** How `procscope mem` shows memory statistics: a table, JSON, Prometheus text, memdebug's line. */
import { formatDuration } from "../base/duration.ts";
import { formatBytes } from "../base/quantity.ts";
import { textTable } from "../base/text-table.ts";
import type { Nanoseconds } from "../base/units.ts";
import { ExpositionWriter, type Metric, metric } from "../exporter/exposition.ts";
import type { MemStats } from "../go/mem-stats.ts";
import { memoryLine } from "../memdebug/line.ts";

/** The fields of MemStats that are one bigint each: bytes, counts, times. */
type Scalar = { [K in keyof MemStats]: MemStats[K] extends bigint ? K : never }[keyof MemStats];
type Kind = "bytes" | "count" | "nanoseconds" | "time";

const rows: readonly (readonly [name: Scalar | "NumGC" | "NumForcedGC", kind: Kind, meaning: string])[] = [
  ["HeapAlloc", "bytes", "heap objects, unreachable ones not yet swept included"],
  ["HeapObjects", "count", "how many"],
  ["HeapInuse", "bytes", "spans with objects in them"],
  ["HeapIdle", "bytes", "spans without any, could be returned or reused"],
  ["HeapReleased", "bytes", "of these returned to the system"],
  ["HeapSys", "bytes", "address space of the heap"],
  ["NextGC", "bytes", "heap size that the next collection aims at"],
  ["StackInuse", "bytes", "stacks of goroutines"],
  ["StackSys", "bytes", "with stacks of threads"],
  ["MSpanInuse", "bytes", "descriptors of spans"],
  ["MSpanSys", "bytes", "obtained for them"],
  ["MCacheInuse", "bytes", "caches of processors"],
  ["MCacheSys", "bytes", "obtained for them"],
  ["BuckHashSys", "bytes", "profiling"],
  ["GCSys", "bytes", "garbage collector's own"],
  ["OtherSys", "bytes", "rest of the runtime"],
  ["Sys", "bytes", "obtained from the system in all"],
  ["TotalAlloc", "bytes", "allocated since the start"],
  ["Mallocs", "count", "objects allocated since the start"],
  ["Frees", "count", "objects freed since the start"],
  ["NumGC", "count", "collections"],
  ["NumForcedGC", "count", "of these asked for by the program"],
  ["PauseTotalNs", "nanoseconds", "world stopped for them"],
  ["LastGC", "time", "end of the last one"],
];

/** The table; with an earlier reading also what changed since. */
export function memoryTable(stats: MemStats, before: MemStats | undefined): string {
  const columns = [
    { title: "FIELD" },
    { title: "VALUE", align: "right" } as const,
    ...(before ? [{ title: "CHANGE", align: "right" } as const] : []),
    { title: "WHAT IT IS" },
  ];
  const cells = rows.map(([name, kind, meaning]) => [
    name,
    valueText(BigInt(stats[name]), kind),
    ...(before ? [changeText(BigInt(stats[name]) - BigInt(before[name]), kind)] : []),
    meaning,
  ]);
  const cpu = ["GCCPUFraction", `${(stats.GCCPUFraction * 100).toFixed(3)}%`, ...(before ? [""] : [])];
  return `${textTable(columns, [...cells, [...cpu, "CPU time that collections took since the start"]]).join("\n")}\n`;
}

function valueText(value: bigint, kind: Kind): string {
  if (kind === "bytes") return formatBytes(value);
  if (kind === "nanoseconds") return formatDuration(Number(value));
  if (kind === "count") return String(value);
  return value === 0n ? "never" : new Date(Number(value / 1_000_000n)).toISOString();
}

function changeText(change: bigint, kind: Kind): string {
  if (change === 0n || kind === "time") return "";
  return `${change > 0n ? "+" : ""}${valueText(change, kind)}`;
}

/** All fields by their own names; what may pass 2^53 as decimal strings. */
export function memoryJson(stats: MemStats): Record<string, unknown> {
  return JSON.parse(
    JSON.stringify(stats, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value)),
  ) as Record<string, unknown>;
}

/** Differences of the single values, as decimal strings. */
export function changesJson(stats: MemStats, before: MemStats): Record<string, string> {
  const changed: Record<string, string> = {};
  for (const [name, kind] of rows)
    if (kind !== "time") changed[name] = String(BigInt(stats[name]) - BigInt(before[name]));
  return changed;
}

/** Names, types and help of client_golang's Go collector (prometheus/go_collector.go). */
const families: readonly (readonly [metric: Metric, field: Scalar])[] = [
  gauge("alloc_bytes", "Alloc", "Number of bytes allocated in heap and currently in use."),
  counter(
    "alloc_bytes_total",
    "TotalAlloc",
    "Total number of bytes allocated in heap until now, even if released already.",
  ),
  gauge("sys_bytes", "Sys", "Number of bytes obtained from system."),
  counter("mallocs_total", "Mallocs", "Total number of heap objects allocated, both live and gc-ed."),
  counter("frees_total", "Frees", "Total number of heap objects frees."),
  gauge(
    "heap_alloc_bytes",
    "HeapAlloc",
    "Number of heap bytes allocated and currently in use, same as go_memstats_alloc_bytes.",
  ),
  gauge("heap_sys_bytes", "HeapSys", "Number of heap bytes obtained from system."),
  gauge("heap_idle_bytes", "HeapIdle", "Number of heap bytes waiting to be used."),
  gauge("heap_inuse_bytes", "HeapInuse", "Number of heap bytes that are in use."),
  gauge("heap_released_bytes", "HeapReleased", "Number of heap bytes released to OS."),
  gauge("heap_objects", "HeapObjects", "Number of currently allocated objects."),
  gauge(
    "stack_inuse_bytes",
    "StackInuse",
    "Number of bytes obtained from system for stack allocator in non-CGO environments.",
  ),
  gauge("stack_sys_bytes", "StackSys", "Number of bytes obtained from system for stack allocator."),
  gauge("mspan_inuse_bytes", "MSpanInuse", "Number of bytes in use by mspan structures."),
  gauge("mspan_sys_bytes", "MSpanSys", "Number of bytes used for mspan structures obtained from system."),
  gauge("mcache_inuse_bytes", "MCacheInuse", "Number of bytes in use by mcache structures."),
  gauge("mcache_sys_bytes", "MCacheSys", "Number of bytes used for mcache structures obtained from system."),
  gauge("buck_hash_sys_bytes", "BuckHashSys", "Number of bytes used by the profiling bucket hash table."),
  gauge("gc_sys_bytes", "GCSys", "Number of bytes used for garbage collection system metadata."),
  gauge("other_sys_bytes", "OtherSys", "Number of bytes used for other system allocations."),
  gauge("next_gc_bytes", "NextGC", "Number of heap bytes when next garbage collection will take place."),
];
const lastCollection = metric(
  "go_memstats_last_gc_time_seconds",
  "gauge",
  "Number of seconds since 1970 of last garbage collection.",
);

function gauge(name: string, field: Scalar, help: string): readonly [Metric, Scalar] {
  return [metric(`go_memstats_${name}`, "gauge", help), field];
}

function counter(name: string, field: Scalar, help: string): readonly [Metric, Scalar] {
  return [metric(`go_memstats_${name}`, "counter", help), field];
}

/** The text that a scrape of the program would hold of these metrics, had it an endpoint. */
export function memoryMetrics(stats: MemStats): string {
  const writer = new ExpositionWriter("text");
  for (const [family, field] of families) writer.single(family, stats[field]);
  writer.single(lastCollection, Number(stats.LastGC) / 1e9);
  return writer.finish();
}

/** memdebug's line, as a program that links it would print about itself. */
export function memdebugText(
  stats: MemStats,
  before: MemStats | undefined,
  elapsed: Nanoseconds,
  what: string,
  colour: boolean,
): string {
  const reading = {
    elapsed,
    change: Number(stats.Alloc - (before?.Alloc ?? 0n)),
    heap: Number(stats.Alloc),
    system: Number(stats.Sys),
    systemGrew: before !== undefined && stats.Sys > before.Sys,
    stack: Number(stats.StackInuse),
  };
  return memoryLine(reading, what, colour);
}
