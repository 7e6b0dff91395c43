/**
 * The memory of a Node program in the words of runtime.MemStats. Taken in the main thread, also in the middle of a loop
 * there, so it is quick (some 20 µs) and makes little garbage.
 */
import { PerformanceObserver, performance } from "node:perf_hooks";
import { getHeapSpaceStatistics, getHeapStatistics } from "node:v8";
import type { Figures } from "./memory-lines.ts";

/** What one look at the main thread's heap gives; plain data, it crosses threads. */
export interface NodeMemory {
  /** Milliseconds since 1970. */
  readonly takenAt: number;
  readonly usage: NodeJS.MemoryUsage;
  readonly heap: ReturnType<typeof getHeapStatistics>;
  readonly spaces: ReturnType<typeof getHeapSpaceStatistics>;
  readonly gc: GcCounts;
}

export interface GcCounts {
  readonly count: number;
  readonly pauseNanoseconds: number;
  /** Nanoseconds since 1970; 0 before the first. */
  readonly lastEnd: number;
}

/** Counts collections from now on. The entries come through the event loop, so they lag while it is blocked. */
export class GcCounter {
  private counts: GcCounts = { count: 0, pauseNanoseconds: 0, lastEnd: 0 };
  private readonly observer: PerformanceObserver;

  constructor() {
    this.observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        this.counts = {
          count: this.counts.count + 1,
          pauseNanoseconds: this.counts.pauseNanoseconds + Math.round(entry.duration * 1e6),
          lastEnd: Math.round((performance.timeOrigin + entry.startTime + entry.duration) * 1e6),
        };
      }
    });
    this.observer.observe({ entryTypes: ["gc"] });
  }

  get now(): GcCounts {
    return this.counts;
  }

  stop(): void {
    this.observer.disconnect();
  }
}

export function takeNodeMemory(gc: GcCounts): NodeMemory {
  return {
    takenAt: Date.now(),
    usage: process.memoryUsage(),
    heap: getHeapStatistics(),
    spaces: getHeapSpaceStatistics(),
    gc,
  };
}

/**
 * The mapping, field by field; docs/mount.md has it as a table. What V8 does not count (objects, allocations) is
 * undefined and printed as "-". `stackBytes` is VmStk of /proc/self/status.
 */
export function nodeFigures(memory: NodeMemory, stackBytes: number | undefined): Figures {
  const { heap, gc } = memory;
  const external = heap.external_memory;
  const young = memory.spaces.find((space) => space.space_name === "new_space");
  return {
    Alloc: heap.used_heap_size + external,
    TotalAlloc: undefined,
    Sys: heap.total_heap_size + external + heap.malloced_memory,
    Lookups: 0,
    Mallocs: undefined,
    Frees: undefined,
    HeapAlloc: heap.used_heap_size,
    HeapSys: heap.total_heap_size,
    HeapIdle: heap.total_heap_size - heap.used_heap_size,
    HeapInuse: heap.used_heap_size,
    HeapReleased: Math.max(0, heap.total_heap_size - heap.total_physical_size),
    HeapObjects: undefined,
    StackInuse: stackBytes,
    StackSys: stackBytes,
    MSpanInuse: heap.malloced_memory,
    MSpanSys: heap.peak_malloced_memory,
    MCacheInuse: young?.space_used_size,
    MCacheSys: young?.space_size,
    BuckHashSys: undefined,
    NextGC: heap.heap_size_limit,
    LastGC: gc.lastEnd,
    PauseTotalNs: gc.pauseNanoseconds,
    NumGC: gc.count,
    EnableGC: true,
    DebugGC: false,
  };
}
