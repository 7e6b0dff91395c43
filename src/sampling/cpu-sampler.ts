/**
 * CPU samples of all threads of a process, from perf events, as a profile. The stacks come from the kernel's walk over
 * frame pointers; for Go code the caller of a function that keeps no frame is put back from the sampled stack, and each
 * sample gets the goroutine that it was taken on.
 */
import type { Address, Nanoseconds, Pid } from "../base/units.ts";
import { type PerfMode, PerfSession } from "../kernel/perf-event.ts";
import type { SampleBatch } from "../kernel/perf-samples.ts";
import type { LabelSetId, ProfileBuilder } from "../profile/builder.ts";
import type { Label } from "../profile/model.ts";
import type { CodeMap } from "./code.ts";
import type { LeafRepair } from "./leaf-repair.ts";
import type { SampledGoroutine, SampledGoroutines } from "./sampled-goroutines.ts";

export interface CpuOptions {
  readonly pid: Pid;
  /** Samples a second of each running thread. */
  readonly rate: number;
  readonly mode?: PerfMode | undefined;
  /** Ask for kernel frames too. */
  readonly kernel: boolean;
  /** Its sample types are a count and nanoseconds. */
  readonly builder: ProfileBuilder;
  readonly code: CodeMap;
  /** Labels that every sample gets besides its goroutine's. */
  readonly labels?: readonly Label[] | undefined;
  /** For Go programs. */
  readonly repair?: LeafRepair | undefined;
  readonly goroutines?: SampledGoroutines | undefined;
  /** What the function at an address is to a stack: its thread's beginning, a switch of stacks, or neither. */
  readonly endOf: (address: Address) => StackEnd | undefined;
}

/** "whole": a thread or goroutine begins here; "switch": frame pointers end where the runtime changes stacks. */
export type StackEnd = "whole" | "switch";

/** What sampling met, for the line that is printed and for the profile's comments. */
export interface CpuReport {
  readonly mode: PerfMode;
  readonly kernel: boolean;
  readonly notes: readonly string[];
  readonly samples: number;
  readonly lost: number;
  readonly throttled: number;
  readonly malformed: number;
  /** Stacks whose missing caller was put back. */
  readonly repaired: number;
  /** Stacks that end before their thread's first function, for want of frame pointers. */
  readonly cut: number;
  /** Stacks that end where the Go runtime changes from one stack to another (mcall, morestack). */
  readonly cutAtSwitch: number;
  /** Addresses without a function. */
  readonly unknownAddresses: number;
  /** Samples in Go code on a goroutine's behalf, and how many of them have its id. */
  readonly goSamples: number;
  readonly goroutineKnown: number;
  /** Samples in Go code on no goroutine's behalf: the scheduler and other work of the runtime. */
  readonly schedulerSamples: number;
  readonly duration: Nanoseconds;
}

const cutLabel: Label = { key: "stack", text: "cut: no frame pointers" };

/** Register bits of arch/x86/include/uapi/asm/perf_regs.h; in a sample they come in the order of the bits. */
const registerMask = (1 << 7) | (1 << 22);
const goroutineRegister = 1;
/** Enough for the return address of every function that was not yet or is no longer in its frame. */
const stackBytes = 256;

export class CpuSampler {
  readonly #options: CpuOptions;
  readonly #session: PerfSession;
  readonly #began = process.hrtime.bigint();
  readonly #locations: number[] = [];
  readonly #values = [1, 0];
  readonly #labelSets = new WeakMap<SampledGoroutine, LabelSetId>();
  #samples = 0;
  #repaired = 0;
  #cut = 0;
  #cutAtSwitch = 0;
  #goSamples = 0;
  #goroutineKnown = 0;
  #schedulerSamples = 0;

  /** Starts sampling at once. Throws as {@link PerfSession.open}. */
  constructor(options: CpuOptions) {
    this.#options = options;
    this.#values[1] = Math.round(1e9 / options.rate);
    this.#session = PerfSession.open({
      pid: options.pid,
      frequency: options.rate,
      kernel: options.kernel,
      ...(options.mode === undefined ? {} : { mode: options.mode }),
      ...(options.repair || options.goroutines ? { registers: registerMask, stackBytes } : {}),
    });
  }

  get samples(): number {
    return this.#samples;
  }

  /** Takes what was sampled since the last time; to be called every 100 ms. */
  drain(): void {
    this.#take(this.#session.drain());
  }

  /** Ends sampling; what was left goes into the profile. */
  finish(): CpuReport {
    this.#take(this.#session.stop());
    const { batch, mode, notes, kernel } = this.#session;
    const duration = Number(process.hrtime.bigint() - this.#began);
    return {
      mode,
      kernel,
      notes,
      samples: this.#samples,
      lost: batch.lost,
      throttled: batch.throttled,
      malformed: batch.malformed,
      repaired: this.#repaired,
      cut: this.#cut,
      cutAtSwitch: this.#cutAtSwitch,
      unknownAddresses: this.#options.code.unknown,
      goSamples: this.#goSamples - this.#schedulerSamples,
      goroutineKnown: this.#goroutineKnown,
      schedulerSamples: this.#schedulerSamples,
      duration,
    };
  }

  /** Ends sampling without a profile. Safe to call after {@link finish}. */
  close(): void {
    this.#session.close();
  }

  #take(batch: SampleBatch): void {
    const { goroutines } = this.#options;
    // Read in one go, now: a goroutine's structure may serve another one soon.
    goroutines?.resolve(batch, goroutineRegister);
    for (let i = 0; i < batch.count; i++) this.#add(batch, i);
    this.#samples += batch.count;
  }

  #add(batch: SampleBatch, i: number): void {
    const { frames } = batch;
    const locations = this.#locations;
    locations.length = 0;
    const user = batch.userStart[i]!;
    const end = batch.frameStart[i + 1]!;
    for (let k = batch.frameStart[i]!; k < user; k++) this.#push(frames[k]!, k > batch.frameStart[i]!);
    if (user < end) {
      this.#push(frames[user]!, false);
      const missing = this.#missingCaller(batch, i, user, end);
      if (missing !== 0) this.#push(missing, true);
      for (let k = user + 1; k < end; k++) this.#push(frames[k]!, true);
    }
    const cut = user < end && this.#endsEarly(frames, user, end);
    const { builder } = this.#options;
    builder.add(builder.stack(locations), this.#values, this.#labels(batch, i, user < end ? frames[user]! : 0, cut));
  }

  #push(address: Address, isReturn: boolean): void {
    const location = this.#options.code.location(address, isReturn);
    if (location >= 0) this.#locations.push(location);
  }

  #missingCaller(batch: SampleBatch, i: number, user: number, end: number): Address {
    const { repair } = this.#options;
    if (!repair || batch.hasRegisters[i] === 0) return 0;
    const next = user + 1 < end ? batch.frames[user + 1]! : 0;
    const caller = repair.callerOf(batch.frames[user]!, next, batch.stack, batch.stackStart[i]!, batch.stackLength[i]!);
    if (caller !== 0) this.#repaired++;
    return caller;
  }

  /** The C library's own beginnings have no names where it is stripped: the last frames are looked at, not the last one. */
  #endsEarly(frames: Float64Array, user: number, end: number): boolean {
    for (let k = end - 1; k > Math.max(user, end - 5); k--) {
      const kind = this.#options.endOf(frames[k]!);
      if (kind === "switch") this.#cutAtSwitch++;
      if (kind !== undefined) return false;
    }
    this.#cut++;
    return true;
  }

  #labels(batch: SampleBatch, i: number, address: Address, cut: boolean): number {
    const { goroutines, builder, labels = [] } = this.#options;
    if (!goroutines?.isGo(address)) return builder.labels(cut ? [...labels, cutLabel] : labels);
    this.#goSamples++;
    const register = batch.hasRegisters[i] === 0 ? 0 : batch.registers[i * batch.registerCount + goroutineRegister]!;
    const who = goroutines.of(register, batch.tid[i]!);
    if (who === undefined) return builder.labels(labels);
    if (who.id !== 0) this.#goroutineKnown++;
    else this.#schedulerSamples++;
    let set = this.#labelSets.get(who);
    if (set === undefined) {
      set = builder.labels([...labels, ...who.labels]);
      this.#labelSets.set(who, set);
    }
    return set;
  }
}
