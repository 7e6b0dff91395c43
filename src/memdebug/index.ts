/**
 * memdebug for Node programs: what did this step do to memory, where did the CPU go.
 *
 *     import * as memdebug from "procscope/memdebug";
 *     const t0 = memdebug.now();
 *     entrants.update(entrant);
 *     memdebug.print(t0, "entrant updated", entrant.id);
 *
 * No module of this entry awaits at its top: CommonJS programs load it by require().
 */
export { type Instant, now } from "./clock.ts";
export { dumpProfile, type ProfileOptions, profile, writeProfile } from "./cpu.ts";
export { dumpHeapProfile, type HeapProfileOptions, heapProfile, writeHeapProfile } from "./heap.ts";
export { memoryLine, type Reading } from "./line.ts";
export { configure, gcMode, print, type Settings, Step, start, step, wrap } from "./print.ts";
export { Watch, type WatchOptions, type WatchReading, watch } from "./watch.ts";
