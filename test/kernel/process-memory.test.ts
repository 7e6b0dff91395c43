import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type MemoryReader, newRangeBuffer } from "../../src/base/memory-reader.ts";
import type { Pid } from "../../src/base/units.ts";
import { type Mapping, readProcMaps } from "../../src/kernel/proc-maps.ts";
import { openFileMemory, openMemoryBriefly, openProcessMemory } from "../../src/kernel/process-memory.ts";

const ways = [
  ["process_vm_readv", openProcessMemory],
  ["/proc/PID/mem", openFileMemory],
] as const;

/** The first mapping of sleep's file: "spawn" tells of the exec while the kernel still maps it. */
async function textOf(pid: Pid): Promise<Mapping> {
  for (let i = 0; i < 1000; i++) {
    const text = readProcMaps(pid).find((mapping) => mapping.offset === 0 && mapping.path.includes("sleep"));
    if (text) return text;
    await delay(10);
  }
  throw new Error(`sleep ${pid} is not mapped`);
}

for (const [name, open] of ways) {
  test(`${name}: single bytes, many ranges and unreadable ones`, async () => {
    const child = spawn("sleep", ["60"]);
    try {
      await once(child, "spawn");
      const text = await textOf(child.pid!);
      using memory = open(child.pid!);
      assert.equal(memory.method, name);
      const magic = Buffer.alloc(4);
      assert.equal(memory.readInto(magic, 0, 4, text.start), 4);
      assert.equal(magic.toString("latin1"), "\x7fELF");
      assert.equal(memory.readInto(magic, 0, 4, 8), 0, "the first page is never mapped");
      checkRanges(memory, text.start);
    } finally {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    assert.throws(() => open(child.pid!), { code: "NO_PROCESS" });
  });
}

test("briefly: through the file until many ranges are asked for", async () => {
  const child = spawn("sleep", ["60"]);
  try {
    await once(child, "spawn");
    const text = await textOf(child.pid!);
    using memory = openMemoryBriefly(child.pid!);
    const magic = Buffer.alloc(4);
    assert.equal(memory.readInto(magic, 0, 4, text.start), 4);
    assert.equal(memory.method, "/proc/PID/mem");
    checkRanges(memory, text.start);
    assert.equal(memory.method, "process_vm_readv");
    assert.equal(memory.readInto(magic, 0, 4, text.start), 4);
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
});

/** 3,000 ranges out of order, every seventh unreadable: the others hold what single reads give. */
function checkRanges(memory: MemoryReader, start: number): void {
  const count = 3000;
  const addresses = new Float64Array(count);
  const lengths = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    addresses[i] = i % 7 === 3 ? 16 : start + ((i * 37) % 2048);
    lengths[i] = 1 + (i % 64);
  }
  const ranges = newRangeBuffer();
  memory.readRanges(addresses, lengths, count, ranges);
  const expected = Buffer.alloc(64);
  for (let i = 0; i < count; i++) {
    if (i % 7 === 3) assert.equal(ranges.offsets[i], -1);
    else {
      memory.readInto(expected, 0, lengths[i]!, addresses[i]!);
      const at = ranges.offsets[i]!;
      assert.ok(ranges.data.subarray(at, at + lengths[i]!).equals(expected.subarray(0, lengths[i]!)), `range ${i}`);
    }
  }
}
