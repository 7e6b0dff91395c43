/** The threads of a Go program as its runtime knows them: the list of runtime.m. */
import { u64 } from "../base/bytes.ts";
import { tryRead } from "../base/memory-reader.ts";
import type { Address, Tid } from "../base/units.ts";
import { requiredOffset } from "./goroutine-layout.ts";
import type { GoRuntime } from "./runtime.ts";

export interface GoThread {
  /** Address of the m. */
  readonly address: Address;
  /** runtime.m.id. */
  readonly id: number;
  /** The kernel's thread id (in the target's pid namespace); 0 where it has none yet. */
  readonly tid: Tid;
  /** Address of the g that it runs; 0 where it runs none. */
  readonly current: Address;
  /** Address of its g0, on whose stack the scheduler runs. */
  readonly scheduler: Address;
}

/** Linux' largest pid, by default and by kernel limit. */
const mostThreads = 1 << 22;

/** All threads by the address of their m, following m.alllink from runtime.allm; empty where that was not found. */
export function goThreads(runtime: GoRuntime): ReadonlyMap<Address, GoThread> {
  const threads = new Map<Address, GoThread>();
  const { memory, layout, globals } = runtime;
  const first = globals.get("allm");
  const head = first === undefined ? undefined : tryRead(memory, first, 8);
  if (!head) return threads;
  const [id, tid, current, scheduler, link] = ["id", "procid", "curg", "g0", "alllink"].map((path) =>
    requiredOffset(layout, "m", path),
  );
  const length = Math.max(id!, tid!, current!, scheduler!, link!) + 8;
  for (let at = u64(head, 0); at !== 0 && !threads.has(at) && threads.size < mostThreads; ) {
    const m = tryRead(memory, at, length);
    if (!m) break;
    threads.set(at, {
      address: at,
      id: u64(m, id!),
      tid: u64(m, tid!),
      current: u64(m, current!),
      scheduler: u64(m, scheduler!),
    });
    at = u64(m, link!);
  }
  return threads;
}
