/** The memory of a real process, copied once: a MemoryReader whose bytes a test may change. */
import { readFileSync } from "node:fs";
import { type MemoryReader, type RangeBuffer, tryRead } from "../../src/base/memory-reader.ts";
import { countUpTo } from "../../src/base/sorted.ts";
import type { Address, Bytes, Pid } from "../../src/base/units.ts";
import { readProcMaps } from "../../src/kernel/proc-maps.ts";
import { openProcessMemory } from "../../src/kernel/process-memory.ts";

interface Region {
  readonly start: Address;
  readonly bytes: Buffer;
}

/** Reserved address space is not copied: a Go program touches its arenas from their start. */
const mostOfRegion: Bytes = 16 << 20;

export class MemoryFixture implements MemoryReader {
  readonly regions: readonly Region[];
  private readonly starts: Float64Array;
  /** Bytes read since it was last set to 0: what a hostile length costs. */
  bytesRead = 0;

  /** Copies what can be read of a process that stands still. */
  static capture(pid: Pid): MemoryFixture {
    const regions: Region[] = [];
    using memory = openProcessMemory(pid);
    for (const mapping of readProcMaps(pid)) {
      if (!mapping.readable || mapping.path === "[vvar]" || mapping.path === "[vsyscall]") continue;
      const bytes = tryRead(memory, mapping.start, Math.min(mapping.end - mapping.start, mostOfRegion));
      if (bytes) regions.push({ start: mapping.start, bytes });
    }
    return new MemoryFixture(joined(regions));
  }

  constructor(regions: readonly Region[]) {
    this.regions = regions;
    this.starts = Float64Array.from(regions, (region) => region.start);
  }

  /** The copy of `length` bytes at `address`, to be changed in place; undefined where it was not copied. */
  window(address: Address, length: Bytes): Buffer | undefined {
    const region = this.at(address);
    if (!region || address + length > region.start + region.bytes.length) return undefined;
    return region.bytes.subarray(address - region.start, address - region.start + length);
  }

  private at(address: Address): Region | undefined {
    const region = this.regions[countUpTo(this.starts, address) - 1];
    return region && address < region.start + region.bytes.length ? region : undefined;
  }

  readInto(target: Uint8Array, offset: number, length: Bytes, address: Address): Bytes {
    let done = 0;
    while (done < length) {
      const region = this.at(address + done);
      if (!region) break;
      const from = address + done - region.start;
      const copied = Math.min(length - done, region.bytes.length - from);
      target.set(region.bytes.subarray(from, from + copied), offset + done);
      done += copied;
    }
    this.bytesRead += done;
    return done;
  }

  readRanges(addresses: Float64Array, lengths: Uint32Array, count: number, into: RangeBuffer): void {
    let total = 0;
    if (into.offsets.length < count) into.offsets = new Int32Array(count);
    for (let i = 0; i < count; i++) total += lengths[i]!;
    if (into.data.length < total) into.data = Buffer.allocUnsafeSlow(total);
    let at = 0;
    for (let i = 0; i < count; i++) {
      const whole = this.readInto(into.data, at, lengths[i]!, addresses[i]!) === lengths[i];
      into.offsets[i] = whole ? at : -1;
      at += lengths[i]!;
    }
  }
}

/** Regions that touch, as one: protection splits tables that belong together. */
function joined(regions: readonly Region[]): Region[] {
  const whole: { start: Address; parts: Buffer[]; end: Address }[] = [];
  for (const { start, bytes } of regions) {
    const last = whole.at(-1);
    if (last?.end === start) {
      last.parts.push(bytes);
      last.end += bytes.length;
    } else whole.push({ start, parts: [bytes], end: start + bytes.length });
  }
  return whole.map(({ start, parts }) => ({ start, bytes: Buffer.concat(parts) }));
}

/** The program's file as the process has it. */
export function programFile(pid: Pid): Buffer {
  return readFileSync(`/proc/${pid}/exe`);
}
