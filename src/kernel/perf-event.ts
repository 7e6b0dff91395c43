/**
 * Samples of a process's threads by perf_event_open(2), read from outside without stopping it.
 *
 *     const session = PerfSession.open({ pid, frequency: 99, registers: (1 << 6) | (1 << 7), stackBytes: 64 });
 *     const batch = session.drain();      // every 50 to 100 ms; the columns are valid until the next drain
 *     session.close();
 *
 * How it samples, best first; {@link PerfSession.mode} says which:
 * - "inherit": one event for each thread and CPU; threads that start later are sampled from their first instruction.
 * - "per-thread": one event and ring for each thread, where the product would be too many file descriptors. New threads
 *   are found by looking for them at each drain.
 * - "system": one event for each CPU, filtered by pid; needs the right to sample the whole system.
 */
import { closeSync, readdirSync, readFileSync } from "node:fs";
import { ProcscopeError } from "../base/errors.ts";
import type { Bytes, Pid, Tid } from "../base/units.ts";
import { errnoName } from "./ffi.ts";
import {
  encodePerfAttr,
  type PerfAttr,
  type PerfEventName,
  perfDisable,
  perfEventOpen,
  perfSetOutput,
} from "./perf-attr.ts";
import { perfMapError, perfOpenError } from "./perf-errors.ts";
import { PerfRing } from "./perf-ring.ts";
import { type PerfChange, SampleBatch, sampleType } from "./perf-samples.ts";

export type PerfMode = "inherit" | "per-thread" | "system";

export interface PerfOptions {
  /** The process; 0 for every process ("system" only). */
  readonly pid: Pid;
  /** Samples a second and CPU; see `period` for the other way. Default 99. */
  readonly frequency?: number;
  /** A sample every so many events instead: 1 with "context-switches" is every switch. */
  readonly period?: number;
  /** Default "task-clock" ("cpu-clock" in system mode). */
  readonly event?: PerfEventName;
  /** Default: the best that can be had. */
  readonly mode?: PerfMode;
  /** Ask for kernel frames and samples; without the right to it the session goes on without them. Default true. */
  readonly kernel?: boolean;
  /** User registers to sample, as bits of asm/perf_regs.h (x86-64: BP 6, SP 7, IP 8, R14 22). Default none. */
  readonly registers?: number;
  /** Bytes of user stack to sample, a multiple of 8. Default none. */
  readonly stackBytes?: Bytes;
  /** Pages of each CPU's ring, a power of two. Default 128: 512 KiB, some hundred times what 999 Hz fills in 100 ms. */
  readonly ringPages?: number;
  /** Longest call chain. Default: the kernel's limit, 127. */
  readonly maxFrames?: number;
}

const perThreadPages = 8;
/** File descriptors that are left to everything else. */
const reservedFds = 128;

export class PerfSession {
  readonly mode: PerfMode;
  /** Sentences about what could not be had: kernel frames, inheritance. */
  readonly notes: readonly string[];
  readonly batch: SampleBatch;
  #kernel: boolean;
  #inheritThreads = true;
  readonly #options: PerfOptions;
  readonly #fds: number[] = [];
  readonly #rings: PerfRing[] = [];
  /** In per-thread mode, what belongs to a thread: given back when it ends. */
  readonly #ofThread = new Map<Tid, { fd: number; ring: PerfRing }>();
  readonly #ringOfCpu = new Map<number, number>();
  readonly #known = new Set<Tid>();
  readonly #notes: string[] = [];
  #closed = false;

  private constructor(options: PerfOptions, mode: PerfMode) {
    this.#options = options;
    this.#kernel = options.kernel ?? true;
    this.mode = mode;
    this.notes = this.#notes;
    this.batch = new SampleBatch(typeOf(options), options.registers ?? 0);
  }

  /**
   * Starts sampling at once. Throws NO_PROCESS; PERMISSION with what would help; UNSUPPORTED_HERE where the kernel has
   * no perf events, koffi is missing, or no mode fits the limits.
   */
  static open(options: PerfOptions): PerfSession {
    const mode = options.mode ?? chooseMode(options.pid);
    const session = new PerfSession(options, mode);
    try {
      if (mode === "system") session.#openSystem();
      else session.#openThreads();
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** Whether kernel frames and samples in kernel mode are there. */
  get kernel(): boolean {
    return this.#kernel;
  }

  /** How many events are open; for reports. */
  get events(): number {
    return this.#fds.length;
  }

  /** The fullest that any ring was, as a share of its size: near 1 means that drains come too seldom. */
  get ringUse(): number {
    return this.#rings.reduce((most, ring) => Math.max(most, ring.highWater / ring.size), 0);
  }

  /** Takes what the kernel has written since the last drain. The batch is one and the same object every time. */
  drain(): SampleBatch {
    this.batch.clear();
    if (!this.#closed) this.#readRings();
    if (this.mode === "per-thread" && !this.#closed) this.#openNewThreads();
    return this.batch;
  }

  /** Stops sampling; what is still in the rings is lost unless drained before by {@link stop}. Safe to call twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const fd of this.#fds) {
      perfDisable(fd);
      closeSync(fd);
    }
  }

  /** Stops the events, takes the last records and closes. */
  stop(): SampleBatch {
    for (const fd of this.#closed ? [] : this.#fds) perfDisable(fd);
    const batch = this.drain();
    this.close();
    return batch;
  }

  #readRings(): void {
    const { batch } = this;
    const onlyPid = this.#options.pid;
    const before = batch.changes.length;
    for (const ring of this.#rings) {
      ring.read((words, mask, at, type, misc, size) => batch.add(words, mask, at, type, misc, size, onlyPid));
    }
    if (this.mode === "inherit") for (const change of batch.changes.slice(before)) this.#note(change);
  }

  #note(change: PerfChange): void {
    if (change.kind === "fork") this.#known.add(change.tid);
    else if (change.kind === "exit") this.#known.delete(change.tid);
  }

  #openSystem(): void {
    const { pid, event } = this.#options;
    const attr = this.#attr({ event: event ?? "cpu-clock", inherit: "none", excludeIdle: true });
    for (const cpu of onlineCpus()) {
      const fd = this.#openEvent(attr, -1, cpu);
      if (fd < 0) throw perfOpenError(-1, errnoName(-fd));
      this.#addRing(fd, this.#options.ringPages ?? 128);
    }
    if (pid > 0 && threadsOf(pid).length === 0) throw perfOpenError(pid, "ESRCH");
  }

  /**
   * Opens events until the list of threads does not grow: a thread that started meanwhile was inherited where a fork
   * record of it came, and is opened where none did.
   */
  #openThreads(): void {
    const { pid } = this.#options;
    const threads = threadsOf(pid);
    if (threads.length === 0) throw perfOpenError(pid, "ESRCH");
    let opened = 0;
    for (const tid of threads) opened += this.#openThread(tid);
    for (let round = 0; round < 10; round++) {
      this.#readRings();
      const missing = threadsOf(pid).filter((tid) => !this.#known.has(tid));
      if (missing.length === 0) break;
      for (const tid of missing) opened += this.#openThread(tid);
    }
    if (opened === 0) throw perfOpenError(pid, "ESRCH");
  }

  #openNewThreads(): void {
    const present = threadsOf(this.#options.pid);
    if (present.length === this.#known.size && present.every((tid) => this.#known.has(tid))) return;
    const alive = new Set(present);
    for (const tid of this.#known) if (!alive.has(tid)) this.#forgetThread(tid);
    for (const tid of present) if (!this.#known.has(tid)) this.#openThread(tid);
  }

  /** Its last records were read by the drain that this follows. */
  #forgetThread(tid: Tid): void {
    this.#known.delete(tid);
    const own = this.#ofThread.get(tid);
    if (!own) return;
    this.#ofThread.delete(tid);
    perfDisable(own.fd);
    closeSync(own.fd);
    this.#fds.splice(this.#fds.indexOf(own.fd), 1);
    this.#rings.splice(this.#rings.indexOf(own.ring), 1);
  }

  /** Returns 1 where the thread is sampled now, 0 where it ended before. */
  #openThread(tid: Tid): number {
    this.#known.add(tid);
    return this.mode === "inherit" ? this.#openInherited(tid) : this.#openSingle(tid);
  }

  #openInherited(tid: Tid): number {
    for (const cpu of onlineCpus()) {
      const fd = this.#openEvent(this.#threadAttr(), tid, cpu);
      if (errnoName(-fd) === "ESRCH") return 0;
      if (fd < 0) throw perfOpenError(this.#options.pid, errnoName(-fd));
      const ringFd = this.#ringOfCpu.get(cpu);
      if (ringFd === undefined) {
        this.#addRing(fd, this.#options.ringPages ?? 128);
        this.#ringOfCpu.set(cpu, fd);
        continue;
      }
      this.#fds.push(fd);
      const errno = perfSetOutput(fd, ringFd);
      if (errno) throw perfOpenError(this.#options.pid, errno);
    }
    return 1;
  }

  #openSingle(tid: Tid): number {
    const fd = this.#openEvent(this.#attr({ inherit: "none" }), tid, -1);
    if (errnoName(-fd) === "ESRCH") return 0;
    if (fd < 0) throw perfOpenError(this.#options.pid, errnoName(-fd));
    const ring = this.#addRing(fd, Math.min(this.#options.ringPages ?? perThreadPages, perThreadPages));
    this.#ofThread.set(tid, { fd, ring });
    return 1;
  }

  /** Opens with kernel frames, and where that is refused once and for all without. Minus errno on failure. */
  #openEvent(attr: PerfAttr, pid: number, cpu: number): number {
    const fd = perfEventOpen(encodePerfAttr({ ...attr, kernel: this.#kernel }), pid, cpu);
    if (fd >= 0) return fd;
    const errno = errnoName(-fd);
    if (errno === "EINVAL" && attr.inherit === "threads") {
      this.#inheritThreads = false;
      this.#notes.push(
        "this kernel (older than 5.13) cannot inherit to threads only: child processes are sampled and dropped",
      );
      return this.#openEvent({ ...attr, inherit: "all" }, pid, cpu);
    }
    if ((errno === "EACCES" || errno === "EPERM") && this.#kernel) {
      const without = perfEventOpen(encodePerfAttr({ ...attr, kernel: false }), pid, cpu);
      if (without < 0) return without;
      this.#kernel = false;
      this.#notes.push("no kernel frames: kernel.perf_event_paranoid is above 1 and CAP_PERFMON is missing");
      return without;
    }
    return fd;
  }

  #threadAttr(): PerfAttr {
    return this.#attr({ inherit: this.#inheritThreads ? "threads" : "all" });
  }

  #attr(settings: Pick<PerfAttr, "inherit"> & Partial<Pick<PerfAttr, "event" | "excludeIdle">>): PerfAttr {
    const { frequency, period, event, registers, stackBytes, maxFrames } = this.#options;
    return {
      event: event ?? "task-clock",
      rate: period === undefined ? { frequency: frequency ?? 99 } : { period },
      sampleType: typeOf(this.#options),
      registers: registers ?? 0,
      stackBytes: stackBytes ?? 0,
      kernel: this.#kernel,
      excludeIdle: false,
      maxFrames: maxFrames ?? 0,
      ...settings,
    };
  }

  /** Maps an event's ring, halving it where more locked memory is asked than allowed. */
  #addRing(fd: number, pages: number): PerfRing {
    this.#fds.push(fd);
    for (let size = pages; ; size /= 2) {
      const ring = PerfRing.map(fd, size);
      if (ring instanceof PerfRing) {
        this.#rings.push(ring);
        return ring;
      }
      if (ring.errno !== "EPERM" || size <= 1) throw perfMapError(ring.errno);
    }
  }
}

function typeOf(options: PerfOptions): number {
  return (
    sampleType.ip |
    sampleType.tid |
    sampleType.time |
    sampleType.callchain |
    (options.registers ? sampleType.regsUser : 0) |
    (options.stackBytes ? sampleType.stackUser : 0)
  );
}

/** Inheritance where its file descriptors fit, else an event for each thread, else the whole system. */
function chooseMode(pid: Pid): PerfMode {
  if (pid === 0) return "system";
  const threads = threadsOf(pid).length;
  const room = fdRoom();
  if (threads * onlineCpus().length <= room) return "inherit";
  return threads <= room ? "per-thread" : "system";
}

function fdRoom(): number {
  const limits = readFileSync("/proc/self/limits", "latin1");
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  return (
    (soft === undefined ? Number.POSITIVE_INFINITY : Number(soft)) - readdirSync("/proc/self/fd").length - reservedFds
  );
}

function threadsOf(pid: Pid): Tid[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch {
    return [];
  }
}

let cpus: readonly number[] | undefined;

/** The numbers of the CPUs that are online ("0-3,6" in sysfs). Throws UNSUPPORTED_HERE where sysfs is not there. */
export function onlineCpus(): readonly number[] {
  if (cpus) return cpus;
  const path = "/sys/devices/system/cpu/online";
  try {
    cpus = readFileSync(path, "latin1")
      .trim()
      .split(",")
      .flatMap((part) => {
        const [first = 0, last = first] = part.split("-").map(Number);
        return Array.from({ length: last - first + 1 }, (_, i) => first + i);
      });
    return cpus;
  } catch (cause) {
    throw new ProcscopeError("UNSUPPORTED_HERE", `the list of CPUs cannot be read: ${path}`, {
      hint: "mount sysfs on /sys",
      cause,
    });
  }
}
