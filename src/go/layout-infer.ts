/**
 * The layout of runtime.g from invariants alone, for versions that no table knows: a goroutine points to itself in
 * sched.g, its ids are distinct, its start is the entry of a function. Only what is inferred is believed.
 */
import { u64 } from "../base/bytes.ts";
import { tryRead } from "../base/memory-reader.ts";
import type { Address } from "../base/units.ts";
import type { CheckContext } from "./global-checks.ts";
import type { Field } from "./layout.ts";

/** Goroutine structures are shorter in every version; the rest is only looked at. */
const window = 512;
const sample = 400;

/** The fields of g that could be told, by path; undefined where not even the list of goroutines was found. */
export function inferGoroutineLayout(context: CheckContext): Map<string, Field> | undefined {
  const list = findList(context);
  if (list === undefined) return undefined;
  const gs = readAll(context, list.data, Math.min(list.length, sample));
  const self = list.self;
  const at = (g: Buffer, offset: number): number => u64(g, offset);
  const live = gs.filter((g) => at(g, 8) > at(g, 0) && at(g, self - 16) >= at(g, 0) && at(g, self - 16) <= at(g, 8));
  if (live.length === 0) return undefined;
  const isEntry = entryTest(context);
  const inText = (value: number): boolean => context.modules.some((m) => value >= m.text && value < m.etext);
  const startpc = bestOffset(live, self + 72, window, isEntry, 0.8);
  if (startpc === undefined) return undefined;
  const gopc = bestOffset(live, startpc - 24, startpc, (value) => inText(value) && !isEntry(value), 0.5);
  const goid = findId(context, gs, self, startpc);
  if (gopc === undefined || goid === undefined) return undefined;
  const fields = new Map<string, Field>();
  const add = (path: string, offset: number, size = 8): unknown => fields.set(path, { offset, size });
  add("stack.lo", 0);
  add("stack.hi", 8);
  add("sched.sp", self - 16);
  add("sched.pc", self - 8);
  add("sched.g", self);
  add("startpc", startpc);
  add("gopc", gopc);
  add("goid", goid);
  // These four have stood around goid in this order since Go 1.5 (runtime2.go).
  add("atomicstatus", goid - 8, 4);
  add("schedlink", goid + 8);
  add("waitsince", goid + 16);
  add("waitreason", goid + 24, 1);
  const syscall = live.filter((g) => (g.readUInt32LE(goid - 8) & ~0x1000) === 3);
  const within = (g: Buffer, offset: number): boolean =>
    at(g, offset) > at(g, 0) && at(g, offset) < at(g, 8) && inText(at(g, offset + 8));
  for (let offset = self + 16; syscall.length > 0 && offset < goid; offset += 8) {
    if (!syscall.every((g) => within(g, offset))) continue;
    add("syscallsp", offset);
    add("syscallpc", offset + 8);
    break;
  }
  return fields;
}

/** The longest slice of pointers to structures that hold their own address at one and the same offset. */
function findList(context: CheckContext): { data: Address; length: number; self: number } | undefined {
  const module = context.modules[0]!;
  let best: { data: Address; length: number; self: number } | undefined;
  for (const [start, end] of [
    [module.bss, module.ebss],
    [module.data, module.edata],
    [module.noptrbss, module.enoptrbss],
  ] as const) {
    const bytes = tryRead(context.memory, start, Math.min(end - start, 256 << 20));
    for (let at = 0; bytes && at + 24 <= bytes.length; at += 8) {
      const length = u64(bytes, at + 8);
      if (length < 4 || length > u64(bytes, at + 16) || length > 1e9 || length <= (best?.length ?? 0)) continue;
      const self = selfOffset(context, u64(bytes, at), Math.min(length, 24));
      if (self !== undefined) best = { data: u64(bytes, at), length, self };
    }
  }
  return best;
}

function selfOffset(context: CheckContext, data: Address, count: number): number | undefined {
  if (data < 65536 || data % 8 !== 0) return undefined;
  const pointers = tryRead(context.memory, data, 8 * count);
  if (pointers === undefined) return undefined;
  let offsets: number[] | undefined;
  for (let i = 0; i < count; i++) {
    const address = u64(pointers, 8 * i);
    const g = address % 8 === 0 && address >= 65536 ? tryRead(context.memory, address, window) : undefined;
    if (g === undefined) return undefined;
    offsets ??= Array.from({ length: 21 }, (_, k) => 32 + 8 * k);
    offsets = offsets.filter((offset) => u64(g, offset) === address);
    if (offsets.length === 0) return undefined;
  }
  return offsets?.[0];
}

function readAll(context: CheckContext, data: Address, count: number): Buffer[] {
  const pointers = tryRead(context.memory, data, 8 * count);
  const gs: Buffer[] = [];
  for (let i = 0; pointers && i < count; i++) {
    const g = tryRead(context.memory, u64(pointers, 8 * i), window);
    if (g) gs.push(g);
  }
  return gs;
}

function entryTest(context: CheckContext): (value: number) => boolean {
  const known = new Map<number, boolean>();
  return (value) => {
    let result = known.get(value);
    if (result === undefined) {
      result = context.modules.some((module) => module.pclntab.find(value)?.entry === value);
      known.set(value, result);
    }
    return result;
  };
}

/** The offset at which the test holds for most goroutines, if it does for at least `share` of them. */
function bestOffset(
  gs: readonly Buffer[],
  from: number,
  to: number,
  test: (value: number) => boolean,
  share: number,
): number | undefined {
  let best: number | undefined;
  let most = share * gs.length;
  for (let offset = from; offset + 8 <= to; offset += 8) {
    const count = gs.filter((g) => test(u64(g, offset))).length;
    if (count > most || (count === most && best === undefined)) {
      best = offset;
      most = count;
    }
  }
  return best;
}

/** goid is 1 in the goroutine that runtime.main started, and another number in every other one. */
function findId(context: CheckContext, gs: readonly Buffer[], self: number, startpc: number): number | undefined {
  const main = gs.find((g) => context.modules.some((m) => m.pclntab.find(u64(g, startpc))?.name === "runtime.main"));
  for (let offset = self + 32; main && offset < startpc; offset += 8) {
    if (u64(main, offset) !== 1) continue;
    const ids = new Set(gs.map((g) => u64(g, offset)));
    if (ids.size >= gs.length * 0.9 && [...ids].every((id) => id < 1e12)) return offset;
  }
  return undefined;
}
