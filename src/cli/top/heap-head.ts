/** The heap figures of the head, as far as the program's version lets them be read. */
import { ProcscopeError } from "../../base/errors.ts";
import { MemStatsReader } from "../../go/mem-stats.ts";
import type { GoRuntime } from "../../go/runtime.ts";
import type { HeapHead } from "./sample.ts";

export type HeapReader = () => HeapHead | undefined;

/** The last 256 pauses are kept (runtime.MemStats.PauseNs). */
const pauses = 256;

/** A reader of the heap's figures; one that tells nothing where they cannot be found in this program. */
export function heapReader(runtime: GoRuntime): HeapReader {
  const reader = attempt(() => new MemStatsReader(runtime));
  if (!reader) return () => undefined;
  return () => {
    const stats = attempt(() => reader.read());
    if (!stats) return undefined;
    return {
      inUse: Number(stats.HeapInuse),
      goal: Number(stats.NextGC),
      collections: stats.NumGC,
      lastPause: stats.NumGC === 0 ? undefined : Number(stats.PauseNs[(stats.NumGC + pauses - 1) % pauses]),
    };
  };
}

/** The figures are a small part of the screen: what cannot be read of them is left out, not an end of it. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ProcscopeError && error.code !== "NO_PROCESS") return undefined;
    throw error;
  }
}
