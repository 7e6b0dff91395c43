import type { Bytes, Nanoseconds, Pid, Tid } from "../base/units.ts";
import type { Scheduler } from "../go/scheduler.ts";
import type { ThreadStates } from "../kernel/thread-states.ts";
import type { GoroutineSource } from "../views/goroutine-source.ts";
import type { PlaceKind, StateCounts, SummaryRow } from "../views/summary.ts";

/** What `summary` says of the whole process; of a saved dump only what the file tells. */
export interface SummaryHead {
  readonly from?: string;
  readonly pid?: Pid;
  readonly bin?: string;
  readonly goVersion?: string;
  readonly takenAt: number | undefined;
  readonly threads?: ThreadStates;
  readonly states: StateCounts;
  /** These with --verbose. */
  readonly scheduler?: Scheduler;
  readonly heap?: HeapFigures | undefined;
  readonly threadOf?: (row: number) => Tid | undefined;
}

export interface HeapFigures {
  readonly inUse: bigint;
  readonly sys: bigint;
  /** What the collector counts as live, or undefined where it is not known. */
  readonly live: Bytes | undefined;
  readonly objects: bigint;
  readonly mallocs: bigint;
  readonly frees: bigint;
  readonly pauseTotal: bigint;
  readonly collections: number;
  readonly forcedCollections: number;
  readonly cpuFraction: number;
  /** How long ago, or undefined before the first. */
  readonly lastCollection: Nanoseconds | undefined;
}

/** The members that every JSON result of `summary` begins with. */
export function headJson(head: SummaryHead, kind: PlaceKind): Record<string, unknown> {
  const { from, pid, bin, goVersion, takenAt, threads, states, scheduler, heap } = head;
  return {
    schema: "procscope/summary/1",
    from,
    pid,
    goVersion,
    takenAt: takenAt === undefined ? undefined : new Date(takenAt).toISOString(),
    bin,
    pc: kind,
    threads,
    states,
    scheduler,
    heap: heap && Object.fromEntries(Object.entries(heap).map(([key, value]) => [key, decimal(value)])),
  };
}

/** Integers that may pass 2^53 are decimal strings. */
function decimal(value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}

export function summaryJson(
  head: SummaryHead,
  kind: PlaceKind,
  source: GoroutineSource,
  rows: Iterable<SummaryRow>,
): Record<string, unknown> {
  const goroutines = Array.from(rows, (row) => rowJson(row, head, source));
  return { ...headJson(head, kind), goroutines };
}

function rowJson(row: SummaryRow, head: SummaryHead, source: GoroutineSource): Record<string, unknown> {
  return {
    id: row.id,
    status: row.state,
    waitReason: row.reason === "" ? undefined : row.reason,
    waitingSeconds: row.waitSeconds < 0 ? undefined : Math.round(row.waitSeconds * 1000) / 1000,
    function: row.place.function,
    file: row.place.file,
    line: row.place.line,
    lockedToThread: row.lockedToThread,
    thread: head.threadOf?.(row.row),
    system: source.system(row.row),
    parentId: source.creatorId(row.row) || undefined,
    labels: row.labels && Object.fromEntries(row.labels),
  };
}
