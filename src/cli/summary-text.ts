/** Lines of `summary` in gospy's form. */
import { formatDuration } from "../base/duration.ts";
import { formatBytes } from "../base/quantity.ts";
import type { GoroutineState } from "../views/goroutine-source.ts";
import { placeWords, type SummaryRow, stateText } from "../views/summary.ts";
import type { Paint } from "./output.ts";
import type { SummaryHead } from "./summary-json.ts";

/** The lines above the goroutines; those of --verbose where the head has their figures. */
export function headLines(head: SummaryHead): string[] {
  const { states, threads, scheduler } = head;
  const lines = [firstLine(head)];
  if (scheduler) lines.push(...schedulerLines(scheduler));
  if (threads) {
    const { total, running, sleeping, stopped, zombie } = threads;
    lines.push(
      `Threads: ${total} total, ${running} running, ${sleeping} sleeping, ${stopped} stopped, ${zombie} zombie`,
    );
  }
  lines.push(
    `Goroutines: ${states.total} total, ${states.idle} idle, ${states.running} running, ${states.syscall} syscall, ${states.waiting} waiting`,
  );
  if (head.heap) lines.push(...heapLines(head.heap));
  return lines;
}

function firstLine({ from, bin, goVersion, scheduler }: SummaryHead): string {
  if (from !== undefined) return `from: ${from}`;
  let line = `bin: ${bin}, goVer: ${goVersion?.replace(/^go/, "")}`;
  if (scheduler?.gomaxprocs !== undefined) line += `, gomaxprocs: ${scheduler.gomaxprocs}`;
  if (scheduler?.uptime !== undefined) line += `, uptime: ${formatDuration(scheduler.uptime)}`;
  return line;
}

function schedulerLines({ counts, processors }: NonNullable<SummaryHead["scheduler"]>): string[] {
  const figure = (value: number | undefined): string => String(value ?? "unknown");
  return [
    `Sched: NMidle ${figure(counts.idleThreads)}, NMspinning ${figure(counts.spinningThreads)}, NMfreed ${figure(counts.freedThreads)}, NPidle ${figure(counts.idleProcessors)}, NGsys ${figure(counts.systemGoroutines)}, Runqsize ${figure(counts.globalQueue)}`,
    ...processors.map(
      (p) =>
        `P${p.id} ${p.status}, schedtick: ${p.scheduleTick}, syscalltick: ${p.syscallTick}, curM: ${p.thread === undefined ? "nil" : `M${p.thread}`}, runqsize: ${p.queue}`,
    ),
  ];
}

function heapLines(heap: NonNullable<SummaryHead["heap"]>): string[] {
  return [
    `Heap: HeapInUse ${formatBytes(heap.inUse)}, HeapSys ${formatBytes(heap.sys)}, HeapLive ${heap.live === undefined ? "unknown" : formatBytes(heap.live)}, HeapObjects ${heap.objects}, Nmalloc ${heap.mallocs}, Nfree ${heap.frees}`,
    `GC: TotalPauseTime ${formatDuration(Number(heap.pauseTotal))}, NumGC ${heap.collections}, NumForcedGC ${heap.forcedCollections}, GCCpu ${heap.cpuFraction.toFixed(6)}, LastGC: ${heap.lastCollection === undefined ? "never" : `${formatDuration(heap.lastCollection)} ago`}`,
  ];
}

const colours: Readonly<Record<GoroutineState, "green" | "yellow" | "blue" | "gray">> = {
  running: "green",
  runnable: "green",
  syscall: "blue",
  waiting: "yellow",
  idle: "gray",
  unknown: "gray",
};

export interface RowStyle {
  readonly full: boolean;
  readonly verbose: boolean;
  readonly paint: Paint;
  readonly harmless: (text: string) => string;
  /** The thread that runs a row's goroutine or that it is locked to. */
  readonly threadOf: ((row: number) => number | undefined) | undefined;
}

/** `18 - waiting for chan receive: handle (/src/server.go:71)`. */
export function rowLine(row: SummaryRow, style: RowStyle): string {
  const state = style.paint(colours[row.state], stateText(row.state, row.reason));
  const line = `${row.id} - ${state}: ${style.harmless(placeWords(row.place, style.full))}`;
  const more = style.verbose ? details(row, style) : "";
  return more === "" ? line : `${line} [${more}]`;
}

function details(row: SummaryRow, style: RowStyle): string {
  const parts: string[] = [];
  if (row.waitSeconds >= 0) parts.push(`waiting ${formatDuration(row.waitSeconds * 1e9)}`);
  const thread = style.threadOf?.(row.row);
  if (thread !== undefined) parts.push(`thread ${thread}`);
  if (row.lockedToThread) parts.push("locked to thread");
  if (row.labels) parts.push(`labels ${[...row.labels].map(([key, value]) => `${key}=${value}`).join(" ")}`);
  return style.harmless(parts.join(", "));
}
