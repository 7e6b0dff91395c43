import { u64 } from "../base/bytes.ts";
import { ProcscopeError } from "../base/errors.ts";
import { tryRead } from "../base/memory-reader.ts";
import type { Tid } from "../base/units.ts";
import { MemStatsReader } from "../go/mem-stats.ts";
import type { GoRuntime } from "../go/runtime.ts";
import { readScheduler } from "../go/scheduler.ts";
import { goThreads } from "../go/threads.ts";
import type { LiveGoroutines } from "../views/live-goroutines.ts";
import type { HeapFigures, SummaryHead } from "./summary-json.ts";

/** The part of the head that --verbose adds. What this program's version does not let us read is left out. */
export function verboseHead(
  runtime: GoRuntime,
  source: LiveGoroutines,
): Pick<SummaryHead, "scheduler" | "heap" | "threadOf"> {
  const threads = goThreads(runtime);
  const { table, now } = source.snapshot;
  const threadOf = (row: number): Tid | undefined => {
    const at = source.tableRow(row);
    return threads.get(table.thread[at]! || table.lockedThread[at]!)?.tid || undefined;
  };
  return { scheduler: readScheduler(runtime, now), heap: heapFigures(runtime, source.takenAt), threadOf };
}

function heapFigures(runtime: GoRuntime, takenAt: number): HeapFigures | undefined {
  try {
    const stats = new MemStatsReader(runtime).read();
    return {
      inUse: stats.HeapInuse,
      sys: stats.HeapSys,
      live: heapLive(runtime),
      objects: stats.HeapObjects,
      mallocs: stats.Mallocs,
      frees: stats.Frees,
      pauseTotal: stats.PauseTotalNs,
      collections: stats.NumGC,
      forcedCollections: stats.NumForcedGC,
      cpuFraction: stats.GCCPUFraction,
      lastCollection: stats.LastGC === 0n ? undefined : Math.max(0, takenAt * 1e6 - Number(stats.LastGC)),
    };
  } catch (error) {
    // A version whose statistics are not known has no such lines.
    if (error instanceof ProcscopeError && error.code === "UNSUPPORTED_TARGET") return undefined;
    throw error;
  }
}

/** gcController.heapLive; memstats.heap_live before Go 1.17. */
function heapLive(runtime: GoRuntime): number | undefined {
  const places = [
    { base: runtime.globals.get("gcController"), field: runtime.layout.field("gcControllerState", "heapLive") },
    { base: runtime.globals.get("memstats"), field: runtime.layout.field("mstats", "heap_live") },
  ];
  for (const { base, field } of places) {
    const bytes = base !== undefined && field ? tryRead(runtime.memory, base + field.offset, 8) : undefined;
    if (bytes) return u64(bytes, 0);
  }
  return undefined;
}
