/**
 * One recording of a process: CPU by perf events, waiting by memory, or both in one profile. Finds the best way that is
 * allowed here and says which it was:
 *
 *     perf events with kernel frames → user mode only → one event a thread → goroutines by memory (Go programs) → the error
 */
import { ProcscopeError } from "../base/errors.ts";
import type { Pid, Seconds } from "../base/units.ts";
import { GoroutineReader } from "../go/goroutine-reader.ts";
import type { GoRuntime } from "../go/runtime.ts";
import type { PerfMode } from "../kernel/perf-event.ts";
import { ProfileBuilder } from "../profile/builder.ts";
import type { Profile } from "../profile/model.ts";
import { CodeMap, type CodeSource } from "./code.ts";
import { type CpuReport, CpuSampler } from "./cpu-sampler.ts";
import { GoCode } from "./go-code.ts";
import { GoroutineTeller } from "./goroutine-teller.ts";
import { KernelCode } from "./kernel-code.ts";
import { LeafRepair } from "./leaf-repair.ts";
import { NativeCode } from "./native-code.ts";
import { SampledGoroutines } from "./sampled-goroutines.ts";
import { type WallReport, WallSampler } from "./wall-sampler.ts";

export type RecordingKind = "cpu" | "wall" | "both";

export interface RecorderOptions {
  readonly pid: Pid;
  readonly kind: RecordingKind;
  /** Samples a second: of each running thread, and (at most) of all goroutines. */
  readonly rate: number;
  /** The share of a CPU that looking at goroutines may take here: 0.05. */
  readonly budget: number;
  /** The Go program, where it is one. */
  readonly go: GoRuntime | undefined;
  readonly kernel?: boolean | undefined;
  readonly mode?: PerfMode | undefined;
  /** Leave out the runtime's own goroutines when waiting is sampled. */
  readonly userOnly?: boolean | undefined;
}

export interface RecordingReport {
  readonly pid: Pid;
  /** What was recorded in the end: "cpu" becomes "wall" where perf events are refused. */
  readonly kind: RecordingKind;
  /** The way that was taken, and what was refused before it. */
  readonly notes: readonly string[];
  readonly cpu: CpuReport | undefined;
  readonly wall: (WallReport & { readonly achievedRate: number }) | undefined;
  readonly duration: Seconds;
  /** CPU time that procscope itself took. */
  readonly ownCpu: Seconds;
}

const drainEvery = 100;

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #builder: ProfileBuilder;
  readonly #code: CodeMap;
  readonly #notes: string[] = [];
  readonly #began = performance.now();
  readonly #cpuBefore = process.cpuUsage();
  readonly #native: NativeCode;
  readonly #goCode: GoCode | undefined;
  #kind: RecordingKind;
  #cpu: CpuSampler | undefined;
  #wall: WallSampler | undefined;
  #drainTimer: NodeJS.Timeout | undefined;
  #wallTimer: NodeJS.Timeout | undefined;
  #failure: unknown;

  /** Starts at once. Throws NO_PROCESS, PERMISSION, UNSUPPORTED_TARGET, UNSUPPORTED_HERE where no way is left. */
  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#kind = options.kind;
    const time = { type: options.kind === "cpu" ? "cpu" : "wall", unit: "nanoseconds" };
    this.#builder = new ProfileBuilder({
      sampleTypes: [{ type: "samples", unit: "count" }, time],
      periodType: time,
      period: Math.round(1e9 / options.rate),
      timeNanos: BigInt(Date.now()) * 1_000_000n,
    });
    const reader = options.go && new GoroutineReader(options.go);
    this.#native = new NativeCode(options.pid);
    this.#goCode = reader && new GoCode(reader.code);
    const sources: CodeSource[] = [new KernelCode(), ...(this.#goCode ? [this.#goCode] : []), this.#native];
    this.#code = new CodeMap(this.#builder, sources);
    if (options.kind !== "wall") this.#startCpu(reader);
    if (this.#kind !== "cpu") this.#startWall(reader);
  }

  /** Samples taken so far, for progress. */
  get samples(): number {
    return (this.#cpu?.samples ?? 0) + (this.#wall?.report.samples ?? 0);
  }

  /** Resolves after `seconds`, earlier when the signal aborts, the process ends, or reading fails for good. */
  async run(seconds: Seconds, signal: AbortSignal): Promise<void> {
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end && !signal.aborted && this.#failure === undefined && alive(this.#options.pid)) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(drainEvery, Math.max(1, end - performance.now()))));
    }
  }

  finish(): { profile: Profile; report: RecordingReport } {
    this.#stopTimers();
    const cpu = this.#cpu?.finish();
    this.#wall?.flush();
    const duration = (performance.now() - this.#began) / 1000;
    const wall = this.#wall && { ...this.#wall.report, achievedRate: this.#wall.report.samples / duration };
    if (this.#failure !== undefined && (cpu?.samples ?? 0) + (wall?.samples ?? 0) === 0) throw this.#failure;
    const used = process.cpuUsage(this.#cpuBefore);
    this.#builder.durationNanos = duration * 1e9;
    const report: RecordingReport = {
      pid: this.#options.pid,
      kind: this.#kind,
      notes: [...this.#notes, ...(cpu?.notes ?? [])],
      cpu,
      wall,
      duration,
      ownCpu: (used.user + used.system) / 1e6,
    };
    return { profile: this.#builder.finish(), report };
  }

  /** Stops sampling without a profile; to be called after {@link finish} does no harm. */
  close(): void {
    this.#stopTimers();
    this.#cpu?.close();
  }

  #stopTimers(): void {
    clearInterval(this.#drainTimer);
    clearTimeout(this.#wallTimer);
  }

  #startCpu(reader: GoroutineReader | undefined): void {
    const { pid, rate, kernel = true, mode, go, kind } = this.#options;
    try {
      this.#cpu = new CpuSampler({
        pid,
        rate,
        kernel,
        mode,
        builder: this.#builder,
        code: this.#code,
        labels: kind === "both" ? [{ key: "state", text: "on CPU" }] : undefined,
        repair: go && new LeafRepair(go),
        goroutines: go && reader && SampledGoroutines.create(go, new GoroutineTeller(go, reader.code)),
        endOf: (address) => this.#goCode?.endOf(address) ?? this.#native.endOf(address),
      });
    } catch (error) {
      if (!(error instanceof ProcscopeError) || error.code === "NO_PROCESS" || !reader) throw error;
      // The last rung: memory tells where goroutines are, though not what those on a CPU are doing.
      this.#notes.push(`CPU samples refused (${error.message}); goroutines sampled by reading memory instead`);
      this.#kind = "wall";
      return;
    }
    this.#drainTimer = setInterval(() => this.#cpu?.drain(), drainEvery);
  }

  #startWall(reader: GoroutineReader | undefined): void {
    if (!reader) {
      throw new ProcscopeError(
        "UNSUPPORTED_TARGET",
        `process ${this.#options.pid} is not a Go program: it has no goroutines to sample`,
        {
          hint: "procscope profile cpu samples any process",
        },
      );
    }
    this.#wall = new WallSampler({
      reader,
      builder: this.#builder,
      code: this.#code,
      waitingOnly: this.#cpu !== undefined,
      userOnly: this.#options.userOnly ?? true,
    });
    this.#sampleWall();
  }

  /** Takes one sample and plans the next: not before the rate says, nor before the budget has grown to what it cost. */
  #sampleWall(): void {
    const before = process.cpuUsage();
    try {
      this.#wall?.sample();
    } catch (error) {
      this.#failure = error;
      return;
    }
    const { user, system } = process.cpuUsage(before);
    const cost = (user + system) / 1000;
    const wait = Math.max(1000 / this.#options.rate, cost / this.#options.budget) - cost;
    this.#wallTimer = setTimeout(() => this.#sampleWall(), Math.max(1, wait));
  }
}

function alive(pid: Pid): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
