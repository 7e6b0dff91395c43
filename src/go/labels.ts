/** pprof labels of goroutines (runtime/pprof SetGoroutineLabels): g.labels points to them. */
import { u64 } from "../base/bytes.ts";
import { type MemoryReader, tryRead } from "../base/memory-reader.ts";
import type { Address } from "../base/units.ts";
import type { GoRuntime } from "./runtime.ts";

export type Labels = ReadonlyMap<string, string>;

const mostLabels = 1024;
const longestText = 1 << 16;
/** Distinct label sets kept; each goroutine of a request usually has its own. */
const mostKept = 1 << 16;
/** runtime.bmap with eight string keys and values and its overflow pointer (runtime/map.go before Go 1.24). */
const bucketBytes = 8 + 8 * 16 + 8 * 16 + 8;
const mostBuckets = 1 << 12;
/** A bucket's slot holds something from this tophash on (minTopHash). */
const minTopHash = 5;

/** Reads label sets, each once: they do not change while goroutines refer to them. */
export class LabelReader {
  private readonly memory: MemoryReader;
  private readonly isList: boolean;
  private readonly known = new Map<Address, Labels | undefined>();

  constructor(runtime: GoRuntime) {
    this.memory = runtime.memory;
    // A map[string]string before Go 1.24, then a struct of a slice (internal/runtime/pprof/label.Set).
    this.isList = runtime.version.minor >= 24;
  }

  /** The labels at g.labels; undefined where there are none or they could not be read. */
  read(pointer: Address): Labels | undefined {
    if (pointer === 0) return undefined;
    const known = this.known.get(pointer);
    if (known !== undefined || this.known.has(pointer)) return known;
    const found = this.isList ? this.list(pointer) : this.map(pointer);
    const labels = found && found.size > 0 ? found : undefined;
    if (this.known.size >= mostKept) this.known.clear();
    this.known.set(pointer, labels);
    return labels;
  }

  private list(pointer: Address): Map<string, string> | undefined {
    const header = tryRead(this.memory, pointer, 16);
    if (!header) return undefined;
    const count = u64(header, 8);
    const entries = count <= mostLabels ? tryRead(this.memory, u64(header, 0), 32 * count) : undefined;
    if (!entries) return undefined;
    const labels = new Map<string, string>();
    for (let i = 0; i < count; i++) this.add(labels, entries, 32 * i, 32 * i + 16);
    return labels;
  }

  /** runtime.hmap: count, flags and B at 8 and 9, buckets at 16, oldbuckets at 24 while it grows. */
  private map(pointer: Address): Map<string, string> | undefined {
    const target = tryRead(this.memory, pointer, 8);
    const header = target && u64(target, 0) !== 0 ? tryRead(this.memory, u64(target, 0), 32) : undefined;
    if (!header) return undefined;
    const labels = new Map<string, string>();
    const exponent = header[9]!;
    if (u64(header, 0) > mostLabels || exponent > 12) return undefined;
    this.buckets(labels, u64(header, 16), 2 ** exponent);
    this.buckets(labels, u64(header, 24), 2 ** Math.max(0, exponent - 1));
    return new Map([...labels].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  private buckets(labels: Map<string, string>, base: Address, count: number): void {
    if (base === 0) return;
    let budget = mostBuckets;
    for (let i = 0; i < count; i++) {
      for (let at = base + i * bucketBytes; at !== 0 && budget > 0; budget--) {
        const bucket = tryRead(this.memory, at, bucketBytes);
        if (!bucket) return;
        for (let slot = 0; slot < 8; slot++)
          if (bucket[slot]! >= minTopHash) this.add(labels, bucket, 8 + 16 * slot, 136 + 16 * slot);
        at = u64(bucket, 264);
      }
    }
  }

  private add(labels: Map<string, string>, from: Buffer, key: number, value: number): void {
    const name = this.text(from, key);
    const text = this.text(from, value);
    if (name !== undefined && text !== undefined) labels.set(name, text);
  }

  private text(header: Buffer, at: number): string | undefined {
    const length = u64(header, at + 8);
    if (length === 0) return "";
    return length > longestText ? undefined : tryRead(this.memory, u64(header, at), length)?.toString("utf8");
  }
}
