import assert from "node:assert/strict";
import { test } from "node:test";
import { ProcscopeError } from "../../src/base/errors.ts";
import type { MemoryReader, RangeBuffer } from "../../src/base/memory-reader.ts";
import { GoroutineReader } from "../../src/go/goroutine-reader.ts";
import { GoProcess } from "../../src/go/process.ts";
import { takeSnapshot } from "../../src/go/snapshot.ts";
import { parseDump } from "../../src/views/dump-parser.ts";
import { LiveGoroutines } from "../../src/views/live-goroutines.ts";
import { Resources, resourceText } from "../../src/views/resources.ts";
import { findSuspects } from "../../src/views/suspects.ts";
import { build, GoTarget } from "../support/go-target.ts";

/** Numbers of a seed: mulberry32. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A target that lies: about one byte in `rate` of what is read from it is another one, or a whole word is. */
class LyingMemory implements MemoryReader {
  private readonly memory: MemoryReader;
  private readonly next: () => number;
  private readonly rate: number;

  constructor(memory: MemoryReader, seed: number, rate: number) {
    this.memory = memory;
    this.next = random(seed);
    this.rate = rate;
  }

  readInto(target: Uint8Array, offset: number, length: number, address: number): number {
    const copied = this.memory.readInto(target, offset, length, address);
    this.lie(target.subarray(offset, offset + copied));
    return copied;
  }

  readRanges(addresses: Float64Array, lengths: Uint32Array, count: number, into: RangeBuffer): void {
    this.memory.readRanges(addresses, lengths, count, into);
    for (let i = 0; i < count; i++) {
      const at = into.offsets[i]!;
      if (at >= 0) this.lie(into.data.subarray(at, at + lengths[i]!));
    }
  }

  private lie(bytes: Uint8Array): void {
    for (
      let at = Math.floor(this.next() * this.rate);
      at < bytes.length;
      at += 1 + Math.floor(this.next() * this.rate)
    ) {
      if (this.next() < 0.5) bytes[at] = Math.floor(this.next() * 256);
      else bytes.fill(this.next() < 0.5 ? 0xff : 0, at, Math.min(bytes.length, at + 8));
    }
  }
}

test("waits and suspects of a target that lies: an error or an answer, in bounded time", async () => {
  await using target = await GoTarget.start(await build(undefined, "plain", "waits"));
  using process = GoProcess.attach(target.pid);
  let answers = 0;
  for (let seed = 1; seed <= 300; seed++) {
    const memory = new LyingMemory(process.runtime.memory, seed, [8, 64, 1024, 16384][seed % 4]!);
    const began = performance.now();
    try {
      const reader = new GoroutineReader({ ...process.runtime, memory });
      const source = new LiveGoroutines(takeSnapshot(reader, { stacks: seed % 2 === 0 }));
      const resources = Resources.read(source);
      for (const resource of resources.all()) resourceText(resource);
      for (let row = 0; row < source.count; row++) resources.group(row);
      if (seed % 10 === 0) findSuspects(target.pid, source, resources);
      answers++;
    } catch (error) {
      assert.ok(error instanceof ProcscopeError && error.code !== "INTERNAL", `seed ${seed}: ${error}`);
    }
    assert.ok(performance.now() - began < 20_000, `seed ${seed}`);
  }
  assert.ok(answers > 100, `${answers} answers`);
});

test("dumps with bytes changed, cut or repeated: an error or goroutines", async () => {
  await using target = await GoTarget.start(await build(undefined, "plain", "waits"));
  const dump = Buffer.from(await target.stacks());
  for (let seed = 1; seed <= 2000; seed++) {
    const next = random(seed);
    const bytes = Buffer.from(dump.subarray(0, Math.ceil(next() * dump.length)));
    for (let i = 0; i < 20; i++) {
      const at = Math.floor(next() * bytes.length);
      if (next() < 0.7) bytes[at] = Math.floor(next() * 256);
      else bytes.copy(bytes, at, 0, Math.floor(next() * 200));
    }
    try {
      const source = parseDump(bytes);
      for (let row = 0; row < source.count; row++) assert.ok(source.frames(row).length < 1000);
    } catch (error) {
      assert.ok(error instanceof ProcscopeError && error.code === "MALFORMED", `seed ${seed}: ${error}`);
    }
  }
  // What makes a careless parser slow.
  for (const line of ["goroutine 1 [", "goroutine 1 [a]: {", "created by ", "(", "\t:1"]) {
    const began = performance.now();
    try {
      parseDump(Buffer.from(`${line.repeat(200_000)}\n`.repeat(3)));
    } catch (error) {
      assert.ok(error instanceof ProcscopeError, String(error));
    }
    assert.ok(performance.now() - began < 20_000, line);
  }
});
