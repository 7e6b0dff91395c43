/** The public face of a Go process: what is known of it, its goroutines, its dumps. */
import { readlinkSync } from "node:fs";
import type { Pid, Seconds, Tid } from "../base/units.ts";
import { GoroutineReader } from "../go/goroutine-reader.ts";
import type { MemStats } from "../go/mem-stats.ts";
import { type AttachOptions, GoProcess, type GoProcessInfo } from "../go/process.ts";
import type { GoRuntime } from "../go/runtime.ts";
import { noStack, takeSnapshot } from "../go/snapshot.ts";
import { type GoThread, goThreads } from "../go/threads.ts";
import { type DumpFormat, type DumpOptions, type DumpTally, dumpChunks, newTally } from "./dump.ts";
import type { GoroutineState, Place, StackFrame } from "./goroutine-source.ts";
import { LiveGoroutines } from "./live-goroutines.ts";

/**
 * A running Go process, read while it runs: it is not stopped, and nothing of it is changed. Dispose of it when done:
 * `using go = attach(pid)`.
 */
export class InspectedProcess implements Disposable {
  private readonly process: GoProcess;

  /** Throws NO_PROCESS, PERMISSION, UNSUPPORTED_TARGET, MALFORMED. */
  static attach(pid: Pid, options?: AttachOptions): InspectedProcess {
    return new InspectedProcess(GoProcess.attach(pid, options));
  }

  private constructor(process: GoProcess) {
    this.process = process;
  }

  get pid(): Pid {
    return this.process.pid;
  }

  /** Version, build information, and how each thing was found and checked. */
  get info(): GoProcessInfo {
    return this.process.info;
  }

  get runtime(): GoRuntime {
    return this.process.runtime;
  }

  /** runtime.MemStats as the process itself would read it now. Throws UNSUPPORTED_TARGET, NO_PROCESS. */
  memStats(): MemStats {
    return this.process.memStats();
  }

  /**
   * All goroutines at about one moment, in the order of runtime.allgs, system goroutines included: an iterable over
   * columns, so a million goroutines take no million objects. `stacks`: with their frames; costs several times the rest.
   * Throws NO_PROCESS, UNSUPPORTED_TARGET, MALFORMED.
   */
  goroutines(options: { readonly stacks?: boolean } = {}): Goroutines {
    const reader = new GoroutineReader(this.process.runtime);
    return new Goroutines(new LiveGoroutines(takeSnapshot(reader, { stacks: options.stacks === true })));
  }

  /**
   * Full stacks of all goroutines in pieces: "runtime" is the text of /debug/pprof/goroutine?debug=2, "grouped" that of
   * debug=1, "json" NDJSON, "folded" and "pprof" profiles. `tally` is filled on the way. Throws as goroutines().
   */
  async *dump(
    format: DumpFormat = "runtime",
    options: DumpOptions = {},
    tally: DumpTally = newTally(),
  ): AsyncGenerator<Uint8Array | string> {
    const goVersion = this.runtime.version.text;
    const header = { schema: "procscope/dump/1", pid: this.pid, goVersion, takenAt: new Date().toISOString() };
    const subject = { pid: this.pid, goVersion, program: programOf(this.pid), header };
    yield* dumpChunks(new GoroutineReader(this.runtime), format, options, tally, subject);
  }

  [Symbol.dispose](): void {
    this.process[Symbol.dispose]();
  }
}

function programOf(pid: Pid): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, "");
  } catch {
    return "";
  }
}

/** Goroutines of one moment. */
export class Goroutines implements Iterable<Goroutine> {
  /** The same as the views ask for it: by row. */
  readonly source: LiveGoroutines;
  private threadTable: ReadonlyMap<number, GoThread> | undefined;

  constructor(source: LiveGoroutines) {
    this.source = source;
  }

  get length(): number {
    return this.source.count;
  }

  /** The goroutine of a row, 0 … length - 1. */
  at(row: number): Goroutine {
    return new Goroutine(this, row);
  }

  *[Symbol.iterator](): Generator<Goroutine> {
    for (let row = 0; row < this.source.count; row++) yield new Goroutine(this, row);
  }

  /** The threads by address of their runtime.m; read when first asked for. */
  get threads(): ReadonlyMap<number, GoThread> {
    this.threadTable ??= goThreads(this.source.snapshot.reader.runtime);
    return this.threadTable;
  }
}

/** A row of {@link Goroutines}: nothing is stored in it. */
export class Goroutine {
  private readonly list: Goroutines;
  private readonly row: number;

  constructor(list: Goroutines, row: number) {
    this.list = list;
    this.row = row;
  }

  get id(): number {
    return this.list.source.id(this.row);
  }

  get status(): GoroutineState {
    return this.list.source.state(this.row);
  }

  /** The runtime's word for what it waits for; undefined unless it waits. */
  get waitReason(): string | undefined {
    return this.list.source.reason(this.row) || undefined;
  }

  /** Since the runtime noted the wait, which it does at a garbage collection; undefined where it has not. */
  get waitingSeconds(): Seconds | undefined {
    const seconds = this.list.source.waitSeconds(this.row);
    return seconds < 0 ? undefined : seconds;
  }

  get lockedToThread(): boolean {
    return this.list.source.lockedToThread(this.row);
  }

  /** Kernel id, in the target's pid namespace, of the thread that it runs on or is locked to. */
  get thread(): Tid | undefined {
    const { source, threads } = this.list;
    const { table } = source.snapshot;
    const at = source.tableRow(this.row);
    return threads.get(table.thread[at]! || table.lockedThread[at]!)?.tid || undefined;
  }

  /** One of the runtime's own (runtime.isSystemGoroutine). */
  get system(): boolean {
    return this.list.source.system(this.row);
  }

  get labels(): ReadonlyMap<string, string> | undefined {
    return this.list.source.labels(this.row);
  }

  /** The function that the go statement started, never a wrapper that the compiler made. */
  get startFunction(): Place {
    return this.list.source.start(this.row);
  }

  /** Innermost first; empty where stacks were not asked for, while it is on a CPU, and where it is not consistent. */
  get frames(): readonly StackFrame[] {
    return this.list.source.frames(this.row);
  }

  /** The go statement, and the goroutine that ran it (since Go 1.21). */
  get createdBy(): Place & { readonly goroutineId: number | undefined } {
    const { function: name, file, line } = this.list.source.creator(this.row);
    return { function: name, file, line, goroutineId: this.list.source.creatorId(this.row) || undefined };
  }

  /** False where it changed each time that its stack was read. */
  get consistent(): boolean {
    const { nodes } = this.list.source.snapshot;
    return nodes[this.list.source.tableRow(this.row)] !== noStack.inconsistent;
  }
}
