/** What a Node program's memory is: the heap with what stands outside of it, and collecting before looking. */
import { openSync, readSync } from "node:fs";
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Bytes } from "../base/units.ts";
import { mallocTrim } from "../kernel/malloc.ts";

export interface Memory {
  /**
   * V8's heap in use, without the machine code of its compilers, and external memory: Buffers and many strings live
   * outside of V8's heap.
   */
  readonly heap: Bytes;
  /** V8's heap, external memory and what V8 itself has allocated. */
  readonly system: Bytes;
}

export function readMemory(): Memory {
  const { used_heap_size, total_heap_size, external_memory, malloced_memory } = getHeapStatistics();
  return {
    heap: used_heap_size - codeSize() + external_memory,
    system: total_heap_size + external_memory + malloced_memory,
  };
}

/** Machine code that V8's compilers made; on Node 20 V8 counts the free rest of its pages as used, now and then. */
function codeSize(): Bytes {
  let size = 0;
  for (const space of getHeapSpaceStatistics()) {
    if (space.space_name === "code_space" || space.space_name === "code_large_object_space") {
      size += space.space_used_size;
    }
  }
  return size;
}

let collect: (() => void) | undefined;

const MAX_COLLECTIONS = 6;
const WARM_UP_COLLECTIONS = 4;

/**
 * Collects garbage until the heap stays the same, and gives free memory back to the system. Once is never enough: what
 * the first collection finalizes (buffers, weak references) is only freed by the second, and pages that are still being
 * swept beside us count as used.
 */
export function collectGarbage(): void {
  if (!collect) {
    collect = findCollector();
    // Loads native functions; what that allocates must not count as the first step's.
    mallocTrim();
    // Of a young program V8 frees code that ran once over several collections: later steps would seem to free it.
    for (let i = 0; i < WARM_UP_COLLECTIONS; i++) collect();
  }
  let before = -1;
  for (let i = 0; i < MAX_COLLECTIONS; i++) {
    collect();
    const { used_heap_size } = getHeapStatistics();
    if (used_heap_size === before) break;
    before = used_heap_size;
  }
  mallocTrim();
}

/** V8's gc() without --expose-gc on the command line: the flag is set for the moment in which a context is made. */
function findCollector(): () => void {
  const exposed = (globalThis as { gc?: unknown }).gc;
  if (typeof exposed === "function") return exposed as () => void;
  setFlagsFromString("--expose-gc");
  try {
    return runInNewContext("gc") as () => void;
  } finally {
    setFlagsFromString("--no-expose-gc");
  }
}

/** Reading status costs more than all else that a print without collection does, and a stack hardly ever grows. */
const STACK_MILLISECONDS = 10;

let status = -1;
let stack: Bytes | undefined;
let stackRead = Number.NEGATIVE_INFINITY;
const buffer = Buffer.alloc(4096);

/** The stack of the main thread, at most 10 ms old; undefined where /proc cannot be read. */
export function stackSize(): Bytes | undefined {
  const now = performance.now();
  if (now - stackRead >= STACK_MILLISECONDS) {
    stack = readStackSize();
    stackRead = now;
  }
  return stack;
}

/** VmStk of proc(5) status. */
function readStackSize(): Bytes | undefined {
  try {
    if (status < 0) status = openSync("/proc/self/status", "r");
    const length = readSync(status, buffer, 0, buffer.length, 0);
    const at = buffer.indexOf("VmStk:");
    if (at < 0 || at > length) return undefined;
    return Number.parseInt(buffer.toString("latin1", at + 6, at + 20), 10) * 1024;
  } catch {
    return undefined;
  }
}
