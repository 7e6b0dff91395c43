/** Objects allocated and freed, by size class: runtime.heapStatsDelta and what each P's mcache holds back. */
import { u64 } from "../base/bytes.ts";
import { ProcscopeError } from "../base/errors.ts";
import { newRangeBuffer } from "../base/memory-reader.ts";
import { sliceAt } from "./global-checks.ts";
import type { GoRuntime } from "./runtime.ts";
import { needField, needGlobal, needSize, readBytes } from "./struct-reader.ts";

/** Sums over the generations of consistentHeapStats (runtime/mstats.go), by size class and for large objects. */
export interface HeapCounts {
  readonly smallAllocs: BigUint64Array;
  readonly smallFrees: BigUint64Array;
  tinyAllocs: bigint;
  largeAllocBytes: bigint;
  largeAllocs: bigint;
  largeFreeBytes: bigint;
  largeFrees: bigint;
}

/** What the caches of the Ps hold that is in no statistic yet: ReadMemStats flushes them first. */
export interface CachedCounts {
  /** Objects by size class; negative before Go 1.19, where a cached span counts as fully allocated. */
  readonly small: BigInt64Array;
  tiny: bigint;
}

/** class_to_size has 68 classes in every version that attach reads; a wrong layout must not make it more. */
const mostClasses = 256;
const mostProcessors = 65536;
/** consistentHeapStats.stats: three generations. */
const generations = 3;

export class HeapCounter {
  /** Object size of each class in bytes; class 0 stands for large objects. */
  readonly classes: readonly number[];
  private readonly runtime: GoRuntime;
  private readonly ranges = newRangeBuffer();
  private addresses = new Float64Array(256);
  private lengths = new Uint32Array(256);
  private spanClasses = new Uint32Array(256);

  /** Throws UNSUPPORTED_TARGET where the layout or the table of size classes is not known. */
  constructor(runtime: GoRuntime) {
    this.runtime = runtime;
    const count = needField(runtime, "heapStatsDelta", "smallAllocCount").size / 8;
    if (!(count > 1 && count <= mostClasses)) throw new ProcscopeError("MALFORMED", `${count} size classes`);
    const sizes = readBytes(runtime, needGlobal(runtime, "class_to_size"), 2 * count, "the table of size classes");
    this.classes = Array.from({ length: count }, (_, i) => sizes.readUInt16LE(2 * i));
  }

  /** The sums of all generations, from a copy of runtime.memstats. */
  counts(memstats: Buffer): HeapCounts {
    const { runtime } = this;
    const stats = needField(runtime, "mstats", "heapStats.stats").offset;
    const size = needSize(runtime, "heapStatsDelta");
    const sum = (path: string, index = 0): bigint => {
      const offset = stats + needField(runtime, "heapStatsDelta", path).offset + 8 * index;
      let total = 0n;
      for (let i = 0; i < generations; i++) total += memstats.readBigUInt64LE(offset + i * size);
      return BigInt.asUintN(64, total);
    };
    const perClass = (path: string): BigUint64Array =>
      BigUint64Array.from({ length: this.classes.length }, (_, i) => sum(path, i));
    const tinyInDelta = runtime.layout.field("heapStatsDelta", "tinyAllocCount") !== undefined;
    return {
      smallAllocs: perClass("smallAllocCount"),
      smallFrees: perClass("smallFreeCount"),
      // Before 1.17 tiny objects were counted in mstats itself.
      tinyAllocs: tinyInDelta
        ? sum("tinyAllocCount")
        : memstats.readBigUInt64LE(needField(runtime, "mstats", "tinyallocs").offset),
      largeAllocBytes: sum("largeAlloc"),
      largeAllocs: sum("largeAllocCount"),
      largeFreeBytes: sum("largeFree"),
      largeFrees: sum("largeFreeCount"),
    };
  }

  /** What mcache.releaseAll of every P would add now. */
  cached(): CachedCounts {
    const { runtime } = this;
    const result: CachedCounts = { small: new BigInt64Array(this.classes.length), tiny: 0n };
    const allp = sliceAt(runtime.memory, needGlobal(runtime, "allp"));
    if (allp === undefined || allp.length > mostProcessors) return result;
    const pointers = readBytes(runtime, allp.data, 8 * allp.length, "runtime.allp");
    const cacheOfP = needField(runtime, "p", "mcache").offset;
    const tiny = needField(runtime, "mcache", "tinyAllocs").offset;
    let spans = 0;
    for (let at = 0; at < pointers.length; at += 8) {
      const cache = u64(readBytes(runtime, u64(pointers, at) + cacheOfP, 8, "p.mcache"), 0);
      if (cache === 0) continue;
      const bytes = readBytes(runtime, cache, needSize(runtime, "mcache"), "an mcache");
      result.tiny += bytes.readBigUInt64LE(tiny);
      spans = this.addSpans(bytes, spans);
    }
    this.countSpans(spans, result.small);
    return result;
  }

  /** Notes the spans of one cache: mcache.alloc, two for each size class (with and without pointers). */
  private addSpans(cache: Buffer, spans: number): number {
    const alloc = needField(this.runtime, "mcache", "alloc");
    const size = needSize(this.runtime, "mspan");
    const empty = this.runtime.globals.get("emptymspan");
    for (let i = 0; i < alloc.size / 8; i++) {
      const span = u64(cache, alloc.offset + 8 * i);
      if (span === 0 || span === empty || i >> 1 >= this.classes.length) continue;
      if (spans === this.addresses.length) this.grow();
      this.addresses[spans] = span;
      this.lengths[spans] = size;
      this.spanClasses[spans++] = i >> 1;
    }
    return spans;
  }

  private countSpans(spans: number, small: BigInt64Array): void {
    const { runtime, ranges } = this;
    const allocated = needField(runtime, "mspan", "allocCount").offset;
    const elements = needField(runtime, "mspan", "nelems");
    const before = runtime.layout.field("mspan", "allocCountBeforeCache")?.offset;
    runtime.memory.readRanges(this.addresses, this.lengths, spans, ranges);
    for (let i = 0; i < spans; i++) {
      const at = ranges.offsets[i]!;
      if (at < 0) continue;
      const now = ranges.data.readUInt16LE(at + allocated);
      const counted =
        before !== undefined
          ? ranges.data.readUInt16LE(at + before)
          : elements.size === 2
            ? ranges.data.readUInt16LE(at + elements.offset)
            : u64(ranges.data, at + elements.offset);
      const index = this.spanClasses[i]!;
      small[index] = small[index]! + BigInt(now - counted);
    }
  }

  private grow(): void {
    const length = 2 * this.addresses.length;
    const copy = <T extends Float64Array | Uint32Array>(to: T, from: T): T => {
      to.set(from);
      return to;
    };
    this.addresses = copy(new Float64Array(length), this.addresses);
    this.lengths = copy(new Uint32Array(length), this.lengths);
    this.spanClasses = copy(new Uint32Array(length), this.spanClasses);
  }
}
