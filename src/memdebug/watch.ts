import { closeSync, openSync, rmSync, statfsSync } from "node:fs";
import { freemem } from "node:os";
import { resolve } from "node:path";
import { getHeapStatistics, writeHeapSnapshot } from "node:v8";
import { threadId } from "node:worker_threads";
import { formatBytes } from "../base/quantity.ts";
import type { Bytes } from "../base/units.ts";
import { readMemory } from "./memory.ts";
import { tell } from "./output.ts";

export interface WatchReading {
  /** Heap in use and external memory now. */
  readonly heap: Bytes;
  /** More than when the watch began or last spoke. */
  readonly growth: Bytes;
  readonly rss: Bytes;
}

export interface WatchOptions {
  /** Milliseconds between looks; 1000 by default. Looking takes microseconds and collects nothing. */
  readonly interval?: number | undefined;
  /** When to speak: growth in bytes (100 MiB by default), or a function that says so. */
  readonly when?: Bytes | ((reading: WatchReading) => boolean) | undefined;
  /** Write a heap snapshot too, to this directory, where that cannot do harm. */
  readonly snapshot?: string | undefined;
  /** How many snapshots at most; 2 by default, so that two can be compared. */
  readonly snapshots?: number | undefined;
  /** Called instead of printing to standard error. What it throws is swallowed. */
  readonly report?: ((reading: WatchReading, text: string) => void) | undefined;
}

/**
 * V8 needs several times the heap's size while it writes a snapshot (1400 MB for 200 MB were seen), and a process in a
 * container is killed for less: no snapshot is written unless this many times the heap is free.
 */
const HEADROOM = 8;

export class Watch {
  private readonly options: WatchOptions;
  private readonly timer: NodeJS.Timeout;
  private base: Bytes;
  private taken = 0;

  constructor(options: WatchOptions) {
    this.options = options;
    this.base = readMemory().heap;
    this.timer = setInterval(() => this.look(), Math.max(10, options.interval ?? 1000));
    // Watching must not keep the program alive.
    this.timer.unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  private look(): void {
    const { heap } = readMemory();
    const reading = { heap, growth: heap - this.base, rss: process.memoryUsage.rss() };
    try {
      const { when = 100 << 20 } = this.options;
      if (!(typeof when === "function" ? when(reading) : reading.growth >= when)) return;
      this.base = heap;
      const text = `memory grew by ${formatBytes(reading.growth)} to ${formatBytes(heap)} (RSS ${formatBytes(reading.rss)})`;
      const snapshot = this.options.snapshot === undefined ? "" : `; ${this.snapshot(this.options.snapshot)}`;
      if (this.options.report) this.options.report(reading, text + snapshot);
      else tell(text + snapshot);
    } catch (error) {
      tell(`watch: ${error}`);
    }
  }

  /** Writes one, or says why not. */
  private snapshot(dir: string): string {
    const most = this.options.snapshots ?? 2;
    if (this.taken >= most) return `no more than ${most} snapshots are written`;
    const refusal = whyNoSnapshot(dir, getHeapStatistics().used_heap_size, freeMemory());
    if (refusal) return `no heap snapshot: ${refusal}`;
    const stamp = new Date().toISOString().replace(/[:.]/g, "-");
    const path = resolve(dir, `heap-${process.pid}-${threadId}-${stamp}.heapsnapshot`);
    // Made first, so that it is its owner's only: V8 would create it readable by all.
    closeSync(openSync(path, "wx", 0o600));
    try {
      writeHeapSnapshot(path);
    } catch (error) {
      rmSync(path, { force: true });
      return `the heap snapshot failed: ${error}`;
    }
    this.taken++;
    return `heap snapshot in ${path}`;
  }
}

/** The reason against a snapshot of a heap of `heap` bytes with `free` bytes of memory free, or undefined. */
export function whyNoSnapshot(dir: string, heap: Bytes, free: Bytes): string | undefined {
  const needed = heap * HEADROOM;
  if (free < needed) {
    return `${formatBytes(free)} of memory free, and writing it may take ${formatBytes(needed)}`;
  }
  const { bavail, bsize } = statfsSync(dir);
  const room = bavail * bsize;
  if (room < 3 * heap) return `${formatBytes(room)} of disk free in ${dir}, and it may take ${formatBytes(3 * heap)}`;
  return undefined;
}

/** Memory that this process may still take, within its cgroup where Node knows of it (from 20.13 on). */
function freeMemory(): Bytes {
  const { availableMemory } = process as { availableMemory?: () => number };
  return Math.min(freemem(), availableMemory?.call(process) ?? Number.POSITIVE_INFINITY);
}

/** Looks at memory every `interval` and speaks when it grew beyond `when`. Stop it with stop(), or let the program end. */
export function watch(options: WatchOptions = {}): Watch {
  return new Watch(options);
}
