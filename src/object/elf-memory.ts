import type { MemoryReader, RangeBuffer } from "../base/memory-reader.ts";
import type { Address, Bytes } from "../base/units.ts";
import type { ElfFile } from "./elf.ts";

/**
 * A program's file as if it were loaded at the addresses that it names, not relocated: for tools and tests that look at
 * programs which do not run. Bytes that a segment has in memory only read as zero.
 */
export class ElfMemory implements MemoryReader {
  private readonly elf: ElfFile;

  constructor(elf: ElfFile) {
    this.elf = elf;
  }

  readInto(target: Uint8Array, offset: number, length: Bytes, address: Address): Bytes {
    let done = 0;
    while (done < length) {
      const copied = this.readPart(target, offset + done, length - done, address + done);
      if (copied === 0) break;
      done += copied;
    }
    return done;
  }

  private readPart(target: Uint8Array, offset: number, length: Bytes, address: Address): Bytes {
    const segment = this.elf.segments.find((s) => address >= s.address && address < s.address + s.memorySize);
    if (segment === undefined) return 0;
    const within = address - segment.address;
    if (within >= segment.fileSize) {
      const zeros = Math.min(length, segment.memorySize - within);
      target.fill(0, offset, offset + zeros);
      return zeros;
    }
    const bytes = this.elf.source.read(segment.offset + within, Math.min(length, segment.fileSize - within));
    if (bytes === undefined) return 0;
    target.set(bytes, offset);
    return bytes.length;
  }

  readRanges(addresses: Float64Array, lengths: Uint32Array, count: number, into: RangeBuffer): void {
    let total = 0;
    for (let i = 0; i < count; i++) total += lengths[i]!;
    if (into.data.length < total) into.data = Buffer.alloc(total);
    if (into.offsets.length < count) into.offsets = new Int32Array(count);
    let at = 0;
    for (let i = 0; i < count; i++) {
      const whole = this.readInto(into.data, at, lengths[i]!, addresses[i]!) === lengths[i]!;
      into.offsets[i] = whole ? at : -1;
      at += lengths[i]!;
    }
  }
}
