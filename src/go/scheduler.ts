/** The scheduler's figures and its processors (runtime.sched, runtime.allp), as GODEBUG=schedtrace prints them. */
import { u64 } from "../base/bytes.ts";
import { tryRead } from "../base/memory-reader.ts";
import type { Address, Nanoseconds } from "../base/units.ts";
import type { RuntimeStruct } from "./layout.ts";
import type { GoRuntime, RuntimeGlobal } from "./runtime.ts";
import { goThreads } from "./threads.ts";

/** Counters of runtime.schedt; undefined where this program's could not be read. */
export interface SchedulerCounts {
  readonly idleThreads: number | undefined;
  readonly spinningThreads: number | undefined;
  readonly freedThreads: number | undefined;
  readonly idleProcessors: number | undefined;
  readonly systemGoroutines: number | undefined;
  readonly globalQueue: number | undefined;
}

/** A runtime.p. */
export interface Processor {
  readonly id: number;
  /** "idle", "running", "syscall", "gcstop", "dead". */
  readonly status: string;
  readonly scheduleTick: number;
  readonly syscallTick: number;
  /** runtime.m.id of the thread that holds it, or undefined. */
  readonly thread: number | undefined;
  /** Goroutines in its queue, without the one that is next. */
  readonly queue: number;
}

export interface Scheduler {
  readonly gomaxprocs: number | undefined;
  /** Since the runtime began, or undefined where that is not known. */
  readonly uptime: Nanoseconds | undefined;
  readonly counts: SchedulerCounts;
  readonly processors: readonly Processor[];
}

/** runtime/runtime2.go _Pidle … _Pdead. */
const processorStatus = ["idle", "running", "syscall", "gcstop", "dead"];
const mostProcessors = 1 << 16;

/** Reads the scheduler; `now` is CLOCK_MONOTONIC. */
export function readScheduler(runtime: GoRuntime, now: Nanoseconds): Scheduler {
  const gomaxprocs = readAt(runtime, runtime.globals.get("gomaxprocs"), 4);
  const start = readAt(runtime, runtime.globals.get("runtimeInitTime"), 8);
  return {
    gomaxprocs,
    uptime: start === undefined || start === 0 || start > now ? undefined : now - start,
    counts: {
      idleThreads: schedulerField(runtime, "nmidle"),
      spinningThreads: schedulerField(runtime, "nmspinning"),
      freedThreads: schedulerField(runtime, "nmfreed"),
      idleProcessors: schedulerField(runtime, "npidle"),
      systemGoroutines: schedulerField(runtime, "ngsys"),
      globalQueue: schedulerField(runtime, "runqsize") ?? schedulerField(runtime, "runq.size"),
    },
    processors: readProcessors(runtime, gomaxprocs),
  };
}

function readAt(runtime: GoRuntime, address: Address | undefined, size: number): number | undefined {
  const bytes = address === undefined ? undefined : tryRead(runtime.memory, address, size);
  if (!bytes) return undefined;
  return size === 8 ? u64(bytes, 0) : bytes.readUIntLE(0, size);
}

function schedulerField(runtime: GoRuntime, path: string): number | undefined {
  return fieldAt(runtime, globalAddress(runtime, "sched"), "schedt", path);
}

function globalAddress(runtime: GoRuntime, name: RuntimeGlobal): Address | undefined {
  return runtime.globals.get(name);
}

function fieldAt(
  runtime: GoRuntime,
  base: Address | undefined,
  struct: RuntimeStruct,
  path: string,
): number | undefined {
  const field = runtime.layout.field(struct, path);
  if (base === undefined || !field || (field.size !== 4 && field.size !== 8)) return undefined;
  return readAt(runtime, base + field.offset, field.size);
}

/** allp holds GOMAXPROCS processors; those behind are of a time when that was larger. */
function readProcessors(runtime: GoRuntime, gomaxprocs: number | undefined): Processor[] {
  const list = runtime.globals.get("allp");
  const header = list === undefined ? undefined : tryRead(runtime.memory, list, 16);
  if (!header) return [];
  const count = Math.min(u64(header, 8), gomaxprocs ?? mostProcessors, mostProcessors);
  const pointers = tryRead(runtime.memory, u64(header, 0), 8 * count);
  if (!pointers) return [];
  const threads = goThreads(runtime);
  const processors: Processor[] = [];
  for (let i = 0; i < count; i++) {
    const address = u64(pointers, 8 * i);
    const field = (path: string): number => fieldAt(runtime, address, "p", path) ?? 0;
    const id = fieldAt(runtime, address, "p", "id");
    if (id === undefined) continue;
    processors.push({
      id,
      status: processorStatus[field("status")] ?? "unknown",
      scheduleTick: field("schedtick"),
      syscallTick: field("syscalltick"),
      thread: threads.get(field("m"))?.id,
      queue: Math.max(0, (field("runqtail") - field("runqhead")) >>> 0),
    });
  }
  return processors;
}
