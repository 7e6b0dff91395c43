/** One look at a process: its goroutines and what the head of the screen says. */
import type { Bytes, Nanoseconds, Pid, Seconds } from "../../base/units.ts";
import type { GoroutineSource } from "../../views/goroutine-source.ts";

/** What cannot be told is undefined and shown as "-". */
export interface ProcessHead {
  readonly pid: Pid;
  /** Its command name. */
  readonly name: string;
  /** Without the "go" prefix. */
  readonly goVersion: string;
  readonly uptime: Seconds | undefined;
  /** Of one CPU, since the sample before; undefined in the first. */
  readonly cpuPercent: number | undefined;
  readonly residentBytes: Bytes | undefined;
  readonly threads: number | undefined;
  readonly heap: HeapHead | undefined;
  readonly processors: { readonly busy: number; readonly total: number } | undefined;
}

export interface HeapHead {
  readonly inUse: Bytes;
  /** The heap size at which the next collection ends. */
  readonly goal: Bytes;
  readonly collections: number;
  readonly lastPause: Nanoseconds | undefined;
}

export interface TopSample {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly head: ProcessHead;
  readonly source: GoroutineSource;
  /** Whether stacks were read. */
  readonly stacks: boolean;
  /** Counts by state, in the order of goroutineStates. */
  readonly states: readonly number[];
  /** Goroutines in all. */
  readonly total: number;
}
