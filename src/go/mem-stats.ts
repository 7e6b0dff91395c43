/** runtime.MemStats of a running program, read from outside without stopping it. */
import { ProcscopeError } from "../base/errors.ts";
import { type CachedCounts, HeapCounter, type HeapCounts } from "./heap-counts.ts";
import { nextGC } from "./heap-goal.ts";
import type { GoRuntime } from "./runtime.ts";
import { needField, needGlobal, needSize, readBytes, StructView } from "./struct-reader.ts";

/**
 * The fields of runtime.MemStats by the runtime's names, with its meanings: bytes, counts and nanoseconds. Equal to what
 * the program's own ReadMemStats would return at this moment, but for what that call itself would allocate.
 */
export interface MemStats {
  readonly Alloc: bigint;
  readonly TotalAlloc: bigint;
  readonly Sys: bigint;
  /** Always 0: the runtime does not count pointer look-ups. */
  readonly Lookups: bigint;
  readonly Mallocs: bigint;
  readonly Frees: bigint;
  readonly HeapAlloc: bigint;
  readonly HeapSys: bigint;
  readonly HeapIdle: bigint;
  readonly HeapInuse: bigint;
  readonly HeapReleased: bigint;
  readonly HeapObjects: bigint;
  readonly StackInuse: bigint;
  readonly StackSys: bigint;
  readonly MSpanInuse: bigint;
  readonly MSpanSys: bigint;
  readonly MCacheInuse: bigint;
  readonly MCacheSys: bigint;
  readonly BuckHashSys: bigint;
  readonly GCSys: bigint;
  readonly OtherSys: bigint;
  readonly NextGC: bigint;
  /** Nanoseconds since 1970; 0 before the first collection. */
  readonly LastGC: bigint;
  readonly PauseTotalNs: bigint;
  /** The last 256 pauses in nanoseconds; the newest is at [(NumGC + 255) % 256]. */
  readonly PauseNs: readonly bigint[];
  /** When they ended, nanoseconds since 1970. */
  readonly PauseEnd: readonly bigint[];
  readonly NumGC: number;
  readonly NumForcedGC: number;
  readonly GCCPUFraction: number;
  /** Always true, as the runtime says it. */
  readonly EnableGC: boolean;
  /** Always false, as the runtime says it. */
  readonly DebugGC: boolean;
  readonly BySize: readonly { readonly Size: number; readonly Mallocs: bigint; readonly Frees: bigint }[];
}

/** Sizes of arrays in runtime.MemStats, which its documentation fixes. */
const pauses = 256;
const reportedClasses = 61;

/** While a program allocates at full speed nothing ever stands still: then the last of so many readings is taken. */
const mostTries = 4;
/** Readings in which sums contradict each other are thrown away; so many in a row do not happen. */
const mostContradictions = 100;

/** What a program may allocate between two readings. */
const leastDifference = 4 << 20;

interface Reading {
  readonly memstats: StructView;
  readonly controller: StructView | undefined;
  readonly spanInuse: bigint;
  readonly cacheInuse: bigint;
}

/**
 * Reads the statistics of one program again and again. Each structure is copied whole; the copies are taken twice around
 * the walk over the Ps' caches and again where something moved; and no counter ever goes back behind an earlier reading.
 */
export class MemStatsReader {
  private readonly runtime: GoRuntime;
  private readonly counter: HeapCounter;
  private last: HeapCounts | undefined;

  /** Throws UNSUPPORTED_TARGET where this program's statistics cannot be found. */
  constructor(runtime: GoRuntime) {
    this.runtime = runtime;
    this.counter = new HeapCounter(runtime);
    needGlobal(runtime, "memstats");
    needGlobal(runtime, "mheap_");
    needGlobal(runtime, "allp");
    if (!runtime.layout.exact) this.checkLayout();
  }

  /**
   * The heap in use is kept twice, by the heap itself and in the statistics. A layout that was not measured on this very
   * version is only believed where both are found to say the same, but for what changed between reading them.
   */
  private checkLayout(): void {
    const reading = this.copy();
    const { inuse } = heapOf(reading);
    const counted = this.delta(reading.memstats, "inHeap");
    const difference = Number(inuse > counted ? inuse - counted : counted - inuse);
    if (inuse > 0n && difference <= Number(inuse) / 4 + leastDifference) return;
    const { version, layout } = this.runtime;
    throw new ProcscopeError(
      "UNSUPPORTED_TARGET",
      `the memory statistics of ${version.text} do not fit the ${layout.source}: ${inuse} and ${counted} bytes of heap in use`,
      { hint: "goroutines can be read all the same; a newer procscope may know this Go version" },
    );
  }

  /** The statistics now. Throws NO_PROCESS where the program has ended. */
  read(): MemStats {
    let attempt = 0;
    for (;;) {
      const before = this.copy();
      const cached = this.counter.cached();
      const after = this.copy();
      attempt++;
      if (!same(before, after) && attempt < mostTries) continue;
      const stats = this.assemble(after, cached);
      // An object that was freed is never larger than what the heap has: a torn reading would say so.
      if (stats.HeapAlloc <= stats.HeapSys || attempt >= mostContradictions) return stats;
    }
  }

  private copy(): Reading {
    const { runtime } = this;
    const controller = runtime.globals.get("gcController");
    const size = runtime.layout.sizeOf("gcControllerState");
    const heap = needGlobal(runtime, "mheap_");
    const inuse = (path: string): bigint =>
      readBytes(runtime, heap + needField(runtime, "mheap", path).offset, 8, "runtime.mheap_").readBigUInt64LE(0);
    const memstats = readBytes(
      runtime,
      needGlobal(runtime, "memstats"),
      needSize(runtime, "mstats"),
      "runtime.memstats",
    );
    return {
      memstats: new StructView(runtime, "mstats", memstats),
      // Before 1.17 there was none; since then its absence is an error where one of its fields is asked for.
      controller:
        controller !== undefined && size !== undefined
          ? new StructView(runtime, "gcControllerState", readBytes(runtime, controller, size, "runtime.gcController"))
          : undefined,
      spanInuse: inuse("spanalloc.inuse"),
      cacheInuse: inuse("cachealloc.inuse"),
    };
  }

  private assemble(reading: Reading, cached: CachedCounts): MemStats {
    const { memstats } = reading;
    const counts = this.neverBack(withCached(this.counter.counts(memstats.bytes), cached));
    const objects = this.objects(counts);
    const delta = (path: string): bigint => this.delta(memstats, path);
    const stacks = delta("inStacks");
    const work = delta("inWorkBufs") + delta("inPtrScalarBits");
    const heap = heapOf(reading);
    const system = ["stacks_sys", "mspan_sys", "mcache_sys", "buckhash_sys", "gcMiscSys", "other_sys"].reduce(
      (sum, path) => sum + memstats.word(path),
      0n,
    );
    return {
      Alloc: objects.allocBytes - objects.freeBytes,
      TotalAlloc: objects.allocBytes,
      Sys: heap.sys + system + stacks + work,
      Lookups: 0n,
      Mallocs: objects.mallocs,
      Frees: objects.frees,
      HeapAlloc: objects.allocBytes - objects.freeBytes,
      HeapSys: heap.sys,
      HeapIdle: heap.sys - heap.inuse,
      HeapInuse: heap.inuse,
      HeapReleased: heap.released,
      HeapObjects: objects.mallocs - objects.frees,
      StackInuse: stacks,
      StackSys: stacks + memstats.word("stacks_sys"),
      MSpanInuse: reading.spanInuse,
      MSpanSys: memstats.word("mspan_sys"),
      MCacheInuse: reading.cacheInuse,
      MCacheSys: memstats.word("mcache_sys"),
      BuckHashSys: memstats.word("buckhash_sys"),
      GCSys: memstats.word("gcMiscSys") + work,
      OtherSys: memstats.word("other_sys"),
      NextGC: nextGC(reading.controller, memstats, this.cachedBytes(cached), this.runtime.version),
      LastGC: memstats.word("last_gc_unix"),
      PauseTotalNs: memstats.word("pause_total_ns"),
      PauseNs: Array.from({ length: pauses }, (_, i) => memstats.word("pause_ns", i)),
      PauseEnd: Array.from({ length: pauses }, (_, i) => memstats.word("pause_end", i)),
      NumGC: memstats.u32("numgc"),
      NumForcedGC: memstats.u32("numforcedgc"),
      GCCPUFraction: memstats.double("gc_cpu_fraction"),
      EnableGC: true,
      DebugGC: false,
      BySize: this.counter.classes.slice(0, reportedClasses).map((Size, i) => ({
        Size,
        Mallocs: counts.smallAllocs[i]!,
        Frees: counts.smallFrees[i]!,
      })),
    };
  }

  /** The sum over the generations of one field of heapStatsDelta; 0 where this version does not have it. */
  private delta(memstats: StructView, path: string): bigint {
    const { layout } = this.runtime;
    const field = layout.field("heapStatsDelta", path);
    if (field === undefined) return 0n;
    const start = needField(this.runtime, "mstats", "heapStats.stats").offset + field.offset;
    const size = needSize(this.runtime, "heapStatsDelta");
    let sum = 0n;
    for (let i = 0; i < 3; i++) sum += memstats.bytes.readBigInt64LE(start + i * size);
    return sum;
  }

  private objects(counts: HeapCounts): { allocBytes: bigint; freeBytes: bigint; mallocs: bigint; frees: bigint } {
    let allocBytes = counts.largeAllocBytes;
    let freeBytes = counts.largeFreeBytes;
    // The runtime counts tiny objects as allocated and freed at once.
    let mallocs = counts.largeAllocs + counts.tinyAllocs;
    let frees = counts.largeFrees + counts.tinyAllocs;
    this.counter.classes.forEach((size, i) => {
      mallocs += counts.smallAllocs[i]!;
      frees += counts.smallFrees[i]!;
      allocBytes += counts.smallAllocs[i]! * BigInt(size);
      freeBytes += counts.smallFrees[i]! * BigInt(size);
    });
    return { allocBytes, freeBytes, mallocs, frees };
  }

  private cachedBytes(cached: CachedCounts): bigint {
    return this.counter.classes.reduce((sum, size, i) => sum + cached.small[i]! * BigInt(size), 0n);
  }

  /** Counters as they were at least: a span that was flushed between two copies is missing in both. */
  private neverBack(counts: HeapCounts): HeapCounts {
    const { last } = this;
    if (last !== undefined) {
      for (const key of ["smallAllocs", "smallFrees"] as const)
        for (let i = 0; i < counts[key].length; i++)
          if (counts[key][i]! < last[key][i]!) counts[key][i] = last[key][i]!;
      for (const key of ["tinyAllocs", "largeAllocBytes", "largeAllocs", "largeFreeBytes", "largeFrees"] as const)
        if (counts[key] < last[key]) counts[key] = last[key];
    }
    this.last = counts;
    return counts;
  }
}

function same(a: Reading, b: Reading): boolean {
  return (
    a.memstats.bytes.equals(b.memstats.bytes) &&
    (a.controller === undefined || b.controller === undefined || a.controller.bytes.equals(b.controller.bytes))
  );
}

function withCached(counts: HeapCounts, cached: CachedCounts): HeapCounts {
  for (let i = 0; i < counts.smallAllocs.length; i++)
    counts.smallAllocs[i] = BigInt.asUintN(64, counts.smallAllocs[i]! + cached.small[i]!);
  counts.tinyAllocs += cached.tiny;
  return counts;
}

/** The heap's bytes: in the controller since 1.19, in mstats before. */
function heapOf({ memstats, controller }: Reading): { sys: bigint; inuse: bigint; released: bigint } {
  if (controller?.has("heapInUse")) {
    const inuse = controller.word("heapInUse");
    const released = controller.word("heapReleased");
    return { sys: inuse + controller.word("heapFree") + released, inuse, released };
  }
  return {
    sys: memstats.word("heap_sys"),
    inuse: memstats.word("heap_inuse"),
    released: memstats.word("heap_released"),
  };
}
