/**
 * Whose samples they are: the goroutine of each CPU sample. Go's ABIInternal keeps the current g in a register (R14 on
 * amd64, since Go 1.17); the structures of the goroutines seen are read once a drain. On a thread's own stack (g0: the
 * scheduler, the garbage collector, the runtime's system calls) the register holds that g0; the goroutine that the
 * thread works for is its m.curg. Code that is not Go's has no such register: the thread's m.curg then, marked approximate.
 */

import { u64 } from "../base/bytes.ts";
import { newRangeBuffer } from "../base/memory-reader.ts";
import type { Address, Tid } from "../base/units.ts";
import { type GoRuntime, moduleOf } from "../go/runtime.ts";
import { goThreads } from "../go/threads.ts";
import type { SampleBatch } from "../kernel/perf-samples.ts";
import type { Label } from "../profile/model.ts";
import type { GoroutineTeller } from "./goroutine-teller.ts";

/** The goroutine of a sample. */
export interface SampledGoroutine {
  /** 0 for the scheduler and other work of the runtime on no goroutine's behalf. */
  readonly id: number;
  readonly labels: readonly Label[];
}

interface Offsets {
  readonly goid: number;
  readonly gopc: number;
  readonly labels: number;
  readonly gEnd: number;
  readonly curg: number;
}

const scheduler: SampledGoroutine = { id: 0, labels: [{ key: "goroutine", text: "scheduler" }] };

export class SampledGoroutines {
  readonly #runtime: GoRuntime;
  readonly #teller: GoroutineTeller;
  readonly #offsets: Offsets;
  /** Of this drain: what each g that a register held is. */
  readonly #current = new Map<Address, SampledGoroutine>();
  /** m.g0 of all threads, and each thread's m. */
  readonly #g0s = new Set<Address>();
  readonly #mOfThread = new Map<Tid, Address>();
  readonly #ofThread = new Map<Tid, SampledGoroutine>();
  readonly #registerHoldsG: boolean;
  readonly #buffer = newRangeBuffer();

  /** Undefined where the layouts of this version do not say enough. */
  static create(runtime: GoRuntime, teller: GoroutineTeller): SampledGoroutines | undefined {
    const offsets = offsetsOf(runtime);
    return offsets && runtime.globals.has("allm") ? new SampledGoroutines(runtime, teller, offsets) : undefined;
  }

  private constructor(runtime: GoRuntime, teller: GoroutineTeller, offsets: Offsets) {
    this.#runtime = runtime;
    this.#teller = teller;
    this.#offsets = offsets;
    // The register ABI came with Go 1.17, and only g's place in it matters here.
    this.#registerHoldsG = runtime.architecture.name === "amd64" && runtime.version.minor >= 17;
    this.#readThreads();
  }

  isGo(address: Address): boolean {
    return moduleOf(this.#runtime, address) !== undefined;
  }

  /** Reads the goroutines that this batch's samples name, before they become others. */
  resolve(batch: SampleBatch, register: number): void {
    this.#current.clear();
    this.#ofThread.clear();
    let newThread = false;
    const wanted = new Set<Address>();
    for (let i = 0; i < batch.count; i++) {
      if (!this.#mOfThread.has(batch.tid[i]!)) newThread = true;
      if (!this.#registerHoldsG || batch.hasRegisters[i] === 0) continue;
      const g = batch.registers[i * batch.registerCount + register]!;
      const user = batch.userStart[i]!;
      if (g > 0 && g % 8 === 0 && user < batch.frameStart[i + 1]! && this.isGo(batch.frames[user]!)) wanted.add(g);
    }
    if (newThread) this.#readThreads();
    for (const g of this.#g0s) wanted.delete(g);
    this.#readGoroutines([...wanted]);
  }

  /** The goroutine by its register, else by its thread; undefined where neither says. */
  of(register: Address, tid: Tid): SampledGoroutine | undefined {
    const known = this.#current.get(register);
    if (known) return known;
    if (this.#registerHoldsG && this.#g0s.has(register)) return this.#byThread(tid, "runtime") ?? scheduler;
    return this.#byThread(tid, "approximate");
  }

  #byThread(tid: Tid, how: "runtime" | "approximate"): SampledGoroutine | undefined {
    const m = this.#mOfThread.get(tid);
    if (m === undefined) return undefined;
    const known = this.#ofThread.get(tid);
    if (known) return known;
    const g = this.#pointerAt(m + this.#offsets.curg);
    if (g === 0) return scheduler;
    this.#readGoroutines([g]);
    const found = this.#current.get(g);
    if (!found) return undefined;
    const marked = {
      id: found.id,
      labels: [
        ...found.labels,
        { key: "goroutineFrom", text: how === "runtime" ? "thread (runtime code)" : "thread (approximate)" },
      ],
    };
    this.#ofThread.set(tid, marked);
    return marked;
  }

  #readGoroutines(addresses: readonly Address[]): void {
    const count = addresses.length;
    if (count === 0) return;
    const o = this.#offsets;
    this.#runtime.memory.readRanges(
      Float64Array.from(addresses),
      new Uint32Array(count).fill(o.gEnd),
      count,
      this.#buffer,
    );
    for (let i = 0; i < count; i++) {
      const at = this.#buffer.offsets[i]!;
      if (at < 0) continue;
      const { data } = this.#buffer;
      const id = u64(data, at + o.goid);
      // A register that held no g: ids are small, and a g's stack lies below 2^47.
      if (id === 0 || id > 2 ** 48 || !(u64(data, at) < u64(data, at + 8))) continue;
      this.#current.set(addresses[i]!, {
        id,
        labels: this.#labelsOf(id, u64(data, at + o.gopc), u64(data, at + o.labels)),
      });
    }
  }

  #labelsOf(id: number, gopc: Address, labels: Address): Label[] {
    const all: Label[] = [{ key: "goroutine", number: id, unit: "id" }];
    const creator = gopc === 0 ? "" : this.#teller.creator(gopc);
    if (creator !== "") all.push({ key: "creator", text: creator });
    if (labels !== 0) for (const [key, value] of this.#teller.labels(labels)) all.push({ key, text: value });
    return all;
  }

  #readThreads(): void {
    for (const { address, tid, scheduler } of goThreads(this.#runtime).values()) {
      this.#g0s.add(scheduler);
      if (tid !== 0) this.#mOfThread.set(tid, address);
    }
  }

  #pointerAt(address: Address): Address {
    const word = Buffer.alloc(8);
    return this.#runtime.memory.readInto(word, 0, 8, address) === 8 ? u64(word, 0) : 0;
  }
}

function offsetsOf({ layout }: GoRuntime): Offsets | undefined {
  const g = (path: string): number => layout.field("g", path)?.offset ?? Number.NaN;
  const found = {
    goid: g("goid"),
    gopc: g("gopc"),
    labels: g("labels"),
    curg: layout.field("m", "curg")?.offset ?? Number.NaN,
  };
  if (Object.values(found).some(Number.isNaN)) return undefined;
  return { ...found, gEnd: Math.max(found.goid, found.gopc, found.labels) + 8 };
}
