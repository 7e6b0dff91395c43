/** The processors (runtime.p) of a Go program: GOMAXPROCS of them, each busy or idle. */
import { u64 } from "../base/bytes.ts";
import { tryRead } from "../base/memory-reader.ts";
import type { Address } from "../base/units.ts";
import type { GoRuntime } from "./runtime.ts";

/** Status words of runtime.p (runtime/runtime2.go _Pidle …). */
export const processorStatus = { idle: 0, running: 1, syscall: 2, gcStop: 3, dead: 4 } as const;

/** Go's own limit before 1.10 was 1024, since then it is the machine's; this bounds what a hostile target claims. */
const mostProcessors = 1 << 16;

/** How many there are and how many are not idle; undefined where runtime.allp was not found or does not hold together. */
export function countProcessors(runtime: GoRuntime): { busy: number; total: number } | undefined {
  const at = runtime.globals.get("allp");
  const status = runtime.layout.field("p", "status");
  const header = at === undefined ? undefined : tryRead(runtime.memory, at, 24);
  if (!header || !status) return undefined;
  const count = u64(header, 8);
  if (count > mostProcessors || count > u64(header, 16)) return undefined;
  const pointers = tryRead(runtime.memory, u64(header, 0), 8 * count);
  if (!pointers) return undefined;
  let busy = 0;
  let total = 0;
  for (let i = 0; i < count; i++) {
    const word = statusOf(runtime, u64(pointers, 8 * i) + status.offset);
    if (word === undefined || word > processorStatus.dead) return undefined;
    if (word !== processorStatus.dead) total++;
    if (word === processorStatus.running || word === processorStatus.syscall || word === processorStatus.gcStop) busy++;
  }
  return { busy, total };
}

function statusOf(runtime: GoRuntime, address: Address): number | undefined {
  return tryRead(runtime.memory, address, 4)?.readUInt32LE(0);
}
