/** Does a layout hold of the running program? Looked at through goroutines and threads, whose fields explain each other. */
import { u64 } from "../base/bytes.ts";
import { ProcscopeError } from "../base/errors.ts";
import { tryRead } from "../base/memory-reader.ts";
import type { Address } from "../base/units.ts";
import { type CheckContext, sliceAt } from "./global-checks.ts";
import type { Evidence, RuntimeGlobal } from "./runtime.ts";

/** As many goroutines are looked at: the first are the oldest, so they hold still. */
const sample = 200;

/**
 * Checks the layout of g and m. A goroutine that is being made or recycled may fail; most must not. Throws
 * UNSUPPORTED_TARGET where the layout is not this program's.
 */
export function checkLayout(context: CheckContext, globals: ReadonlyMap<RuntimeGlobal, Address>): Evidence[] {
  const { layout } = context;
  const source = layout.exact ? `${layout.source} (exact)` : layout.source;
  const allgs = globals.get("allgs");
  if (allgs === undefined) {
    if (globals.has("allp")) return [{ subject: "layout g", found: source, checked: "" }];
    throw wrongLayout(context, "its goroutines cannot be found");
  }
  const goroutines = checkGoroutines(context, allgs);
  const threads = checkThreads(context, globals.get("allm"));
  return [
    { subject: "layout g", found: source, checked: goroutines },
    { subject: "layout m", found: source, checked: threads },
  ];
}

function checkGoroutines(context: CheckContext, allgs: Address): string {
  const { memory, layout } = context;
  const size = layout.sizeOf("g") ?? 0;
  const offsets = ["goid", "sched.sp", "stack.lo", "stack.hi", "startpc", "atomicstatus", "m"].map(
    (path) => layout.field("g", path)?.offset,
  );
  const [goid, sp, low, high, startpc, status] = offsets;
  const slice = sliceAt(memory, allgs);
  const pointers = slice && tryRead(memory, slice.data, 8 * Math.min(slice.length, sample));
  if (offsets.includes(undefined) || pointers === undefined)
    throw wrongLayout(context, "g lacks fields that are needed");
  let live = 0;
  let good = 0;
  const ids = new Set<number>();
  for (let at = 0; at < pointers.length; at += 8) {
    const g = tryRead(memory, u64(pointers, at), size);
    if (g === undefined) continue;
    const state = g.readUInt32LE(status!) & ~0x1000;
    // Dead and idle ones hold no stack and an old id.
    if (state === 0 || state === 6 || state === 11) continue;
    live++;
    const id = u64(g, goid!);
    const inStack = u64(g, sp!) >= u64(g, low!) && u64(g, sp!) <= u64(g, high!);
    const fresh = id > 0 && id < 2 ** 48 && !ids.has(id);
    ids.add(id);
    if (fresh && inStack && isEntry(context, u64(g, startpc!))) good++;
  }
  if (good * 10 < live * 8) throw wrongLayout(context, `only ${good} of ${live} goroutines make sense`);
  return `${good} of ${live} goroutines: distinct ids, stack pointer within the stack, startpc the entry of a function`;
}

function isEntry(context: CheckContext, pc: Address): boolean {
  for (const module of context.modules) {
    const fn = module.pclntab.find(pc);
    if (fn) return fn.entry === pc;
  }
  return false;
}

/**
 * Follows allm: each thread's g0 must point back, and thread ids must be distinct. A new m is in the list before it has a
 * g0, and that before it points back (runtime.allocm): what is still nil says nothing, but of some thread it must hold.
 */
function checkThreads(context: CheckContext, allm: Address | undefined): string {
  const { memory, layout } = context;
  const g0 = layout.field("m", "g0");
  const link = layout.field("m", "alllink");
  const thread = layout.field("m", "procid");
  const back = layout.field("g", "m");
  const size = layout.sizeOf("m");
  if (allm === undefined || !g0 || !link || !thread || !back || !size) return "";
  let m = wordAt(context, allm);
  let count = 0;
  let good = 0;
  const ids = new Set<number>();
  while (m && count < 4096) {
    const bytes = tryRead(memory, m, size);
    const own = bytes && u64(bytes, g0.offset);
    const pointsTo = own ? wordAt(context, own + back.offset) : own;
    if (bytes === undefined || pointsTo === undefined || (pointsTo !== 0 && pointsTo !== m))
      throw wrongLayout(context, `thread ${count} of allm does not make sense`);
    if (pointsTo === m) good++;
    const id = u64(bytes, thread.offset);
    if (id >= 1 << 22) throw wrongLayout(context, `m.procid ${id} is not a thread id`);
    if (id > 0) ids.add(id);
    m = u64(bytes, link.offset);
    count++;
  }
  if (count > 0 && good === 0) throw wrongLayout(context, "no thread of allm makes sense");
  return `${count} threads linked by alllink, g0.m == m, ${ids.size} thread ids`;
}

function wordAt(context: CheckContext, address: Address): number | undefined {
  const bytes = tryRead(context.memory, address, 8);
  return bytes && u64(bytes, 0);
}

function wrongLayout(context: CheckContext, what: string): ProcscopeError {
  const { layout, version } = context;
  return new ProcscopeError(
    "UNSUPPORTED_TARGET",
    `the runtime of ${version.text} does not fit the ${layout.source}: ${what}`,
    {
      hint: layout.exact
        ? "the program may have been built with a changed runtime"
        : "this Go version is not known to this release of procscope; a newer one may know it",
    },
  );
}
