import { type MemoryReader, tryRead } from "../base/memory-reader.ts";
import type { Address, Bytes } from "../base/units.ts";
import type { ElfFile } from "../object/elf.ts";

/** A stretch of the program's image in memory. */
export interface ImageRange {
  readonly start: Address;
  readonly end: Address;
  readonly writable: boolean;
  readonly executable: boolean;
}

/** A program's file as it lies in the target's memory: what attach searches. */
export interface ProgramImage {
  readonly memory: MemoryReader;
  readonly elf: ElfFile;
  /** What is added to the addresses of the file: 0 unless it is position independent. */
  readonly bias: Address;
  readonly ranges: readonly ImageRange[];
  /** What was read already: an image lives as long as one attach, and what is looked for does not change meanwhile. */
  readonly read: Map<ImageRange, Buffer>;
}

/** Segments larger than this are not searched whole: what is looked for lies in the part that the file fills. */
const mostSearched: Bytes = 512 << 20;

export function programImage(memory: MemoryReader, elf: ElfFile, bias: Address): ProgramImage {
  const ranges = elf.segments
    .filter((segment) => segment.readable && segment.fileSize > 0)
    .map((segment) => ({
      start: segment.address + bias,
      end: segment.address + bias + Math.min(segment.fileSize, mostSearched),
      writable: segment.writable,
      executable: segment.executable,
    }));
  return { memory, elf, bias, ranges, read: new Map() };
}

/** The bytes of a range as they are now, relocations applied; shorter where its end cannot be read. */
export function rangeBytes(image: ProgramImage, range: ImageRange): Buffer {
  let bytes = image.read.get(range);
  if (bytes === undefined) {
    bytes = readRange(image, range);
    image.read.set(range, bytes);
  }
  return bytes;
}

function readRange(image: ProgramImage, range: ImageRange): Buffer {
  const whole = tryRead(image.memory, range.start, range.end - range.start);
  if (whole) return whole;
  const buffer = Buffer.alloc(range.end - range.start);
  return buffer.subarray(0, image.memory.readInto(buffer, 0, buffer.length, range.start));
}
