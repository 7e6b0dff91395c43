/** What must hold of a runtime global at an address: invariants of the running runtime, so a wrong address is noticed. */
import { u64 } from "../base/bytes.ts";
import { type MemoryReader, tryRead } from "../base/memory-reader.ts";
import type { Address } from "../base/units.ts";
import { type GoVersion, goString } from "./build-info.ts";
import type { Layout, RuntimeStruct } from "./layout.ts";
import type { GoModule } from "./module.ts";
import type { RuntimeGlobal } from "./runtime.ts";

export interface CheckContext {
  readonly memory: MemoryReader;
  readonly layout: Layout;
  readonly modules: readonly GoModule[];
  readonly version: GoVersion;
}

/** What held, or undefined where something did not. */
type Check = (context: CheckContext, address: Address) => string | undefined;

/** The checks by global; those that are not here cannot be checked from their value. */
export const globalChecks: Partial<Record<RuntimeGlobal, Check>> = {
  allgs: (context, address) => {
    const slice = sliceAt(context.memory, address);
    if (slice === undefined || slice.length === 0 || slice.capacity > 1e9) return undefined;
    const pointers = tryRead(context.memory, slice.data, 8 * Math.min(slice.length, 8));
    if (pointers === undefined) return undefined;
    for (let at = 0; at < pointers.length; at += 8) if (!isGoroutine(context, u64(pointers, at))) return undefined;
    return "its elements are goroutines (g.sched.g == g)";
  },
  allp: (context, address) => {
    const slice = sliceAt(context.memory, address);
    const id = context.layout.field("p", "id");
    if (slice === undefined || id === undefined || slice.length === 0 || slice.length > 65536) return undefined;
    for (let i = 0; i < slice.length; i++) {
      const p = word(context, slice.data + 8 * i);
      if (p === undefined || u32(context, p + id.offset) !== i) return undefined;
    }
    return "allp[i].id == i";
  },
  allm: (context, address) => {
    let m = word(context, address);
    // The newest are in the list before they have a g0 (runtime.allocm).
    for (let newest = 0; m && newest < 16; newest++) {
      const g0 = follow(context, m, "m", "g0");
      const back = g0 && follow(context, g0, "g", "m");
      if (back !== 0) return back && back === m ? "allm.g0.m == allm" : undefined;
      m = follow(context, m, "m", "alllink");
    }
    return undefined;
  },
  waitReasonStrings: (context, address) =>
    goString(context.memory, address, 0) === "" && goString(context.memory, address + 16, 64) === "GC assist marking"
      ? 'waitReasonStrings[1] is "GC assist marking"'
      : undefined,
  gStatusStrings: (context, address) =>
    goString(context.memory, address, 16) === "idle" && goString(context.memory, address + 16, 16) === "runnable"
      ? 'gStatusStrings begins with "idle", "runnable"'
      : undefined,
  memstats: (context, address) => {
    const generation = context.layout.field("mstats", "heapStats.gen");
    const value = generation && u32(context, address + generation.offset);
    const forced = word(context, address + (context.layout.field("mstats", "pause_total_ns")?.offset ?? 0));
    return value !== undefined && value < 3 && forced !== undefined && forced < 2 ** 56
      ? "heapStats.gen < 3"
      : undefined;
  },
  gcController: (context, address) => {
    const percent = context.layout.field("gcControllerState", "gcPercent");
    const value = percent && i32(context, address + percent.offset);
    if (percent === undefined) return "";
    return value !== undefined && value >= -1 && value < 1e6 ? "gcPercent is a percentage" : undefined;
  },
  gomaxprocs: (context, address) => {
    const value = i32(context, address);
    return value !== undefined && value > 0 && value <= 65536 ? "a number of processors" : undefined;
  },
  physPageSize: (context, address) => {
    const value = word(context, address);
    return value !== undefined && value >= 4096 && value <= 1 << 20 && Number.isInteger(Math.log2(value))
      ? "a power of two"
      : undefined;
  },
  class_to_size: (context, address) => {
    const sizes = tryRead(context.memory, address, 14);
    return sizes?.equals(firstSizeClasses) ? "begins with 0, 8, 16, 24, 32, 48, 64" : undefined;
  },
  buildVersion: (context, address) =>
    goString(context.memory, address, 256) === context.version.text ? "equals the build information" : undefined,
  sched: (context, address) => {
    const mcount = context.layout.field("schedt", "mnext");
    const limit = context.layout.field("schedt", "maxmcount");
    const created = mcount && word(context, address + mcount.offset);
    const most = limit && i32(context, address + limit.offset);
    return created && created < 1e7 && most && most >= 1 ? "mnext and maxmcount are counts of threads" : undefined;
  },
  mheap_: (context, address) => {
    const size = context.layout.field("mheap", "spanalloc.size");
    const value = size && word(context, address + size.offset);
    const span = context.layout.sizeOf("mspan");
    return value !== undefined && value === span ? "spanalloc.size is the size of mspan" : undefined;
  },
  runtimeInitTime: (context, address) => {
    const value = word(context, address);
    return value !== undefined && value > 0 && value < 2 ** 60 ? "a time" : undefined;
  },
  mbuckets: (context, address) => bucketKind(context, address, 1),
  bbuckets: (context, address) => bucketKind(context, address, 2),
  xbuckets: (context, address) => bucketKind(context, address, 3),
};

/** class_to_size as its first seven uint16 (runtime/sizeclasses.go), for a scan. */
export const firstSizeClasses: Buffer = Buffer.from(new Uint16Array([0, 8, 16, 24, 32, 48, 64]).buffer);

/** What a check says of a list that is empty. */
export const nothingToCheck = "empty yet";

function bucketKind(context: CheckContext, address: Address, kind: number): string | undefined {
  const bucket = word(context, address);
  if (bucket === 0) return nothingToCheck;
  const typ = context.layout.field("bucket", "typ");
  return bucket && typ && u32(context, bucket + typ.offset) === kind ? `bucket.typ == ${kind}` : undefined;
}

/** Whether a goroutine structure lies at `address`. */
export function isGoroutine(context: Pick<CheckContext, "memory" | "layout">, address: Address): boolean {
  const { layout, memory } = context;
  const self = layout.field("g", "sched.g");
  const status = layout.field("g", "atomicstatus");
  const low = layout.field("g", "stack.lo");
  const high = layout.field("g", "stack.hi");
  const size = layout.sizeOf("g");
  if (!self || !status || !low || !high || !size || address < 4096 || address % 8 !== 0) return false;
  const g = tryRead(memory, address, size);
  if (g === undefined || (g.readUInt32LE(status.offset) & ~0x1000) > 12) return false;
  return u64(g, self.offset) === address && u64(g, low.offset) <= u64(g, high.offset);
}

export function sliceAt(
  memory: MemoryReader,
  address: Address,
): { data: Address; length: number; capacity: number } | undefined {
  const header = tryRead(memory, address, 24);
  if (header === undefined) return undefined;
  const slice = { data: u64(header, 0), length: u64(header, 8), capacity: u64(header, 16) };
  return slice.length <= slice.capacity ? slice : undefined;
}

function follow(context: CheckContext, base: Address, struct: RuntimeStruct, path: string): Address | undefined {
  const field = context.layout.field(struct, path);
  return field && word(context, base + field.offset);
}

function word(context: CheckContext, address: Address): number | undefined {
  const bytes = tryRead(context.memory, address, 8);
  return bytes && u64(bytes, 0);
}

function u32(context: CheckContext, address: Address): number | undefined {
  return tryRead(context.memory, address, 4)?.readUInt32LE(0);
}

function i32(context: CheckContext, address: Address): number | undefined {
  return tryRead(context.memory, address, 4)?.readInt32LE(0);
}
