/**
 * The sampled events that the runtime keeps of its own accord (runtime/mprof.go): memory allocated and freed, blocking,
 * contention of mutexes, creation of threads. Columns, one row a bucket; stacks as return addresses, innermost first.
 */

import { u64 } from "../base/bytes.ts";
import { Float64Column, Int32Column } from "../base/columns.ts";
import { ProcscopeError } from "../base/errors.ts";
import { tryRead } from "../base/memory-reader.ts";
import type { Address, Bytes } from "../base/units.ts";
import type { GoRuntime, RuntimeGlobal } from "./runtime.ts";
import { needField, needGlobal, needSize } from "./struct-reader.ts";

export interface BucketStacks {
  readonly count: number;
  /** The addresses of all stacks; those of row i from first[i] to before first[i + 1]. */
  readonly addresses: Float64Array;
  readonly first: Int32Array;
}

/** runtime.MemProfile. Not scaled: what was sampled. */
export interface MemoryBuckets extends BucketStacks {
  /** runtime.MemProfileRate: one allocation is sampled for about so many bytes; 0: none. */
  readonly rate: Bytes;
  readonly allocObjects: Float64Array;
  readonly allocBytes: Float64Array;
  readonly freeObjects: Float64Array;
  readonly freeBytes: Float64Array;
}

/** runtime.BlockProfile and runtime.MutexProfile. */
export interface ContentionBuckets extends BucketStacks {
  /**
   * block: SetBlockProfileRate in CPU ticks as the runtime keeps it; mutex: SetMutexProfileFraction. 0: switched off;
   * undefined: not known.
   */
  readonly rate: number | undefined;
  /** CPU ticks a second as the runtime measured them, undefined where it did not yet. */
  readonly ticksPerSecond: number | undefined;
  readonly events: Float64Array;
  readonly ticks: Float64Array;
}

/** A stack is at most GODEBUG=profstackdepth deep (1024 by default at the most); a list at most this long. */
const deepestStack = 4096;
const mostBuckets = 5_000_000;
/** persistentalloc gives buckets out of chunks of 256 KiB: they lie side by side. */
const blockSize: Bytes = 65536;
/** memRecord.future. */
const cycles = 3;

/** Sampled allocations. Throws UNSUPPORTED_TARGET where they cannot be found, MALFORMED for a list that is broken. */
export function readMemoryBuckets(runtime: GoRuntime): MemoryBuckets {
  const walk = new BucketWalk(runtime, "mbuckets", needSize(runtime, "memRecord"));
  const records = new MemoryRecords(runtime);
  for (const record of walk.records()) records.add(record, walk.size);
  return { ...walk.stacks(), ...records.columns(), rate: readInteger(runtime, "MemProfileRate") ?? 0 };
}

/** Blocking or contention. Throws as {@link readMemoryBuckets}. */
export function readContentionBuckets(runtime: GoRuntime, kind: "block" | "mutex"): ContentionBuckets {
  const walk = new BucketWalk(runtime, kind === "block" ? "bbuckets" : "xbuckets", needSize(runtime, "blockRecord"));
  const count = needField(runtime, "blockRecord", "count").offset;
  const total = needField(runtime, "blockRecord", "cycles").offset;
  const events = new Float64Column();
  const ticks = new Float64Column();
  for (const record of walk.records()) {
    // blockProfileInternal: less than one sampled event is still one.
    const number = Math.trunc(record.readDoubleLE(count));
    events.push(kind === "block" && number === 0 ? 1 : number);
    ticks.push(Number(record.readBigInt64LE(total)));
  }
  return {
    ...walk.stacks(),
    rate: readInteger(runtime, kind === "block" ? "blockprofilerate" : "mutexprofilerate"),
    ticksPerSecond: readTicksPerSecond(runtime),
    events: events.view(),
    ticks: ticks.view(),
  };
}

/** The stacks that made threads (m.createstack), one row a thread. */
export function readThreadStacks(runtime: GoRuntime): BucketStacks {
  const stack = needField(runtime, "m", "createstack");
  const link = needField(runtime, "m", "alllink");
  const stacks = new StackColumns();
  let m = readInteger(runtime, "allm") ?? 0;
  for (let n = 0; m !== 0 && n < 1 << 16; n++) {
    const pcs = tryRead(runtime.memory, m + stack.offset, stack.size);
    const next = tryRead(runtime.memory, m + link.offset, 8);
    if (pcs === undefined || next === undefined) break;
    let length = 0;
    while (8 * length < pcs.length && u64(pcs, 8 * length) !== 0) length++;
    stacks.add(pcs, 0, length);
    m = u64(next, 0);
  }
  return stacks.finish();
}

/** What switches each list of buckets on. */
const rateOf: Partial<Record<RuntimeGlobal, RuntimeGlobal>> = {
  mbuckets: "MemProfileRate",
  bbuckets: "blockprofilerate",
  xbuckets: "mutexprofilerate",
};

/** A global of eight bytes, or undefined where it is not known. */
function readInteger(runtime: GoRuntime, name: RuntimeGlobal): number | undefined {
  const address = runtime.globals.get(name);
  const bytes = address === undefined ? undefined : tryRead(runtime.memory, address, 8);
  return bytes && u64(bytes, 0);
}

function readTicksPerSecond(runtime: GoRuntime): number | undefined {
  const field = runtime.layout.field("ticksType", "val");
  const ticks = runtime.globals.get("ticks");
  if (field === undefined || ticks === undefined) return undefined;
  const bytes = tryRead(runtime.memory, ticks + field.offset, 8);
  // No processor counts slower than 1 MHz or faster than 100 GHz: it is not known, or something else.
  const value = bytes ? u64(bytes, 0) : 0;
  return value > 1e6 && value < 1e11 ? value : undefined;
}

class StackColumns {
  private readonly addresses = new Float64Column();
  private readonly first = new Int32Column();
  private rows = 0;

  add(words: Buffer, at: number, length: number): void {
    this.first.push(this.addresses.length);
    this.rows++;
    for (let i = 0; i < length; i++) {
      const pc = u64(words, at + 8 * i);
      // logicalStackSentinel: says how the rest was made, and is no address.
      if (pc < Number.MAX_SAFE_INTEGER) this.addresses.push(pc);
    }
  }

  finish(): BucketStacks {
    this.first.push(this.addresses.length);
    return { count: this.rows, addresses: this.addresses.view(), first: this.first.view() };
  }
}

/** Follows bucket.allnext: header, stack, record, each bucket in one piece of memory. */
class BucketWalk {
  /** bucket.size of the current bucket: the size of the objects. */
  size: Bytes = 0;
  private readonly runtime: GoRuntime;
  private readonly head: RuntimeGlobal;
  private readonly recordSize: Bytes;
  private readonly columns = new StackColumns();
  private readonly blocks = new Map<Address, Buffer | undefined>();

  constructor(runtime: GoRuntime, head: RuntimeGlobal, recordSize: Bytes) {
    this.runtime = runtime;
    this.head = head;
    this.recordSize = recordSize;
    // A program that never looks at its profile has nothing that tells where it is; one that is off has no buckets.
    if (readInteger(runtime, rateOf[head]!) !== 0) needGlobal(runtime, head);
  }

  /** The record behind each bucket's stack; valid until the next one. */
  *records(): Generator<Buffer> {
    const { runtime } = this;
    const headerSize = needSize(runtime, "bucket");
    const next = needField(runtime, "bucket", "allnext").offset;
    const size = needField(runtime, "bucket", "size").offset;
    const depth = needField(runtime, "bucket", "nstk").offset;
    let bucket = readInteger(runtime, this.head) ?? 0;
    for (let n = 0; bucket !== 0; n++) {
      const header = this.bytes(bucket, headerSize);
      const length = header && u64(header, depth);
      if (header === undefined || length === undefined || length > deepestStack || n > mostBuckets)
        throw new ProcscopeError("MALFORMED", `runtime.${this.head} leads to what is no bucket`);
      const body = this.bytes(bucket + headerSize, 8 * length + this.recordSize);
      if (body === undefined) throw new ProcscopeError("UNREADABLE", `a bucket of runtime.${this.head} cannot be read`);
      this.columns.add(body, 0, length);
      this.size = u64(header, size);
      yield body.subarray(8 * length);
      bucket = u64(header, next);
    }
  }

  stacks(): BucketStacks {
    return this.columns.finish();
  }

  /** Memory by way of blocks that are read once. */
  private bytes(address: Address, length: Bytes): Buffer | undefined {
    const start = Math.floor(address / blockSize) * blockSize;
    if (address + length > start + blockSize) return tryRead(this.runtime.memory, address, length);
    if (!this.blocks.has(start)) this.blocks.set(start, tryRead(this.runtime.memory, start, blockSize));
    const block = this.blocks.get(start);
    return block
      ? block.subarray(address - start, address - start + length)
      : tryRead(this.runtime.memory, address, length);
  }
}

/** Sums of memRecord as memProfileInternal would publish them now, without publishing anything. */
class MemoryRecords {
  private readonly cycleSize: Bytes;
  private readonly active: Bytes;
  private readonly future: Bytes;
  /** Which of memRecord.future is due to be published. */
  private readonly due: number;
  /** Fields of memRecordCycle; byte counts only where the runtime keeps them (before 1.27). */
  private readonly fields: readonly (Bytes | undefined)[];
  /** As published: active and the due cycle. As before the first collection: all cycles. Four columns each. */
  private readonly published = newColumns();
  private readonly all = newColumns();
  private anyActive = false;

  constructor(runtime: GoRuntime) {
    this.cycleSize = needSize(runtime, "memRecordCycle");
    this.active = needField(runtime, "memRecord", "active").offset;
    this.future = needField(runtime, "memRecord", "future").offset;
    this.fields = ["allocs", "alloc_bytes", "frees", "free_bytes"].map(
      (path) => runtime.layout.field("memRecordCycle", path)?.offset,
    );
    this.due = dueCycle(runtime);
  }

  add(record: Buffer, objectSize: Bytes): void {
    const at = (base: Bytes, field: number): number => {
      const offset = this.fields[field];
      if (offset !== undefined) return u64(record, base + offset);
      // Byte counts that are not kept are object counts times the size of the bucket's objects.
      const objects = this.fields[field - 1];
      return objects === undefined ? 0 : u64(record, base + objects) * objectSize;
    };
    for (let field = 0; field < 4; field++) {
      const active = at(this.active, field);
      let all = active;
      for (let i = 0; i < cycles; i++) all += at(this.future + i * this.cycleSize, field);
      const published = active + at(this.future + this.due * this.cycleSize, field);
      this.published[field]!.push(published);
      this.all[field]!.push(all);
      if (published !== 0) this.anyActive = true;
    }
  }

  columns(): Pick<MemoryBuckets, "allocObjects" | "allocBytes" | "freeObjects" | "freeBytes"> {
    const [allocObjects, allocBytes, freeObjects, freeBytes] = (this.anyActive ? this.published : this.all).map(
      (column) => column.view(),
    ) as [Float64Array, Float64Array, Float64Array, Float64Array];
    return { allocObjects, allocBytes, freeObjects, freeBytes };
  }
}

function newColumns(): Float64Column[] {
  return Array.from({ length: 4 }, () => new Float64Column());
}

/** mProfCycle holds the cycle shifted left by one and a flag; before 1.19 mProf.cycle held it as it is. */
function dueCycle(runtime: GoRuntime): number {
  const shifted = runtime.globals.get("mProfCycle");
  const plain = runtime.globals.get("mProf");
  const bytes = tryRead(runtime.memory, shifted ?? plain ?? needGlobal(runtime, "mProfCycle"), 4);
  if (bytes === undefined) throw new ProcscopeError("UNREADABLE", "the profile's cycle cannot be read");
  const word = bytes.readUInt32LE(0);
  return (shifted !== undefined ? word >>> 1 : word) % cycles;
}
