/**
 * Spans of the Go heap (runtime.mspan, by runtime.mheap.allspans): whether an address lies in an object that is in use
 * and may hold pointers. Mirrors runtime/mheap.go and runtime/mbitmap.go (isFree).
 */
import { u64 } from "../base/bytes.ts";
import { newRangeBuffer, tryRead } from "../base/memory-reader.ts";
import { countUpTo } from "../base/sorted.ts";
import type { Address, Bytes } from "../base/units.ts";
import type { GoRuntime } from "./runtime.ts";

/** mSpanInUse, the state of spans that hold objects. */
const inUse = 1;
/** 8 KiB: runtime.pageSize, on every architecture. */
const heapPage: Bytes = 8192;
const mostSpans = 1 << 24;
const batch = 8192;

interface Span {
  readonly start: Address;
  readonly end: Address;
  readonly elementSize: Bytes;
  /** Objects before it are in use; of those from it on, allocBits tells. */
  readonly freeIndex: number;
  readonly allocBits: Address;
  readonly noPointers: boolean;
}

interface Places {
  readonly start: number;
  readonly pages: number;
  readonly freeIndex: number;
  readonly freeIndexSize: number;
  readonly allocBits: number;
  readonly spanClass: number;
  readonly state: number;
  readonly elementSize: number;
  readonly length: Bytes;
}

export class HeapSpans {
  private readonly runtime: GoRuntime;
  /** Those with objects, by address. */
  private readonly spans: readonly Span[];
  private readonly starts: Float64Array;

  /** Undefined where this program's heap cannot be found or does not hold together. */
  static read(runtime: GoRuntime): HeapSpans | undefined {
    const heap = runtime.globals.get("mheap_");
    const list = runtime.layout.field("mheap", "allspans")?.offset;
    const places = spanPlaces(runtime);
    const header = heap === undefined || list === undefined ? undefined : tryRead(runtime.memory, heap + list, 24);
    if (!places || !header) return undefined;
    const count = u64(header, 8);
    if (count === 0 || count > mostSpans || count > u64(header, 16)) return undefined;
    const pointers = tryRead(runtime.memory, u64(header, 0), 8 * count);
    return pointers && new HeapSpans(runtime, readSpans(runtime, pointers, count, places));
  }

  private constructor(runtime: GoRuntime, spans: readonly Span[]) {
    this.runtime = runtime;
    this.spans = spans;
    this.starts = Float64Array.from(spans, ({ start }) => start);
  }

  /** Whether the address lies in an object that is in use and may hold pointers. */
  holdsPointers(address: Address): boolean {
    const span = this.find(address);
    if (!span || span.noPointers) return false;
    const index = Math.floor((address - span.start) / span.elementSize);
    if (index < span.freeIndex) return true;
    const bits = tryRead(this.runtime.memory, span.allocBits + (index >> 3), 1);
    return bits === undefined || ((bits[0]! >> (index & 7)) & 1) === 1;
  }

  private find(address: Address): Span | undefined {
    const span = this.spans[countUpTo(this.starts, address) - 1];
    return span && address < span.end ? span : undefined;
  }
}

function spanPlaces({ layout }: GoRuntime): Places | undefined {
  const at = (path: string) => layout.field("mspan", path);
  const freeIndex = at("freeIndexForScan") ?? at("freeindex");
  const fields = [at("startAddr"), at("npages"), at("allocBits"), at("spanclass"), at("state"), at("elemsize")];
  if (!freeIndex || fields.some((field) => field === undefined)) return undefined;
  const [start, pages, allocBits, spanClass, state, elementSize] = fields.map((field) => field!.offset);
  const length = Math.max(freeIndex.offset, ...fields.map((field) => field!.offset)) + 8;
  return {
    start: start!,
    pages: pages!,
    freeIndex: freeIndex.offset,
    freeIndexSize: freeIndex.size,
    allocBits: allocBits!,
    spanClass: spanClass!,
    state: state!,
    elementSize: elementSize!,
    length,
  };
}

function readSpans(runtime: GoRuntime, pointers: Buffer, count: number, places: Places): Span[] {
  const spans: Span[] = [];
  const buffer = newRangeBuffer();
  const lengths = new Uint32Array(batch).fill(places.length);
  for (let first = 0; first < count; first += batch) {
    const part = Math.min(batch, count - first);
    const addresses = Float64Array.from({ length: part }, (_, i) => u64(pointers, 8 * (first + i)));
    runtime.memory.readRanges(addresses, lengths, part, buffer);
    for (let i = 0; i < part; i++) {
      const at = buffer.offsets[i]!;
      const span = at < 0 ? undefined : spanOf(buffer.data, at, places);
      if (span) spans.push(span);
    }
  }
  return spans.sort((a, b) => a.start - b.start);
}

function spanOf(data: Buffer, at: number, places: Places): Span | undefined {
  const elementSize = u64(data, at + places.elementSize);
  if (data[at + places.state] !== inUse || elementSize === 0) return undefined;
  const start = u64(data, at + places.start);
  const freeAt = at + places.freeIndex;
  return {
    start,
    end: start + u64(data, at + places.pages) * heapPage,
    elementSize,
    freeIndex: places.freeIndexSize === 2 ? data.readUInt16LE(freeAt) : u64(data, freeAt),
    allocBits: u64(data, at + places.allocBits),
    // The lowest bit of the span class: objects without pointers.
    noPointers: (data[at + places.spanClass]! & 1) === 1,
  };
}
