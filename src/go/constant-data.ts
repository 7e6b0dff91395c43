import { type MemoryReader, tryRead } from "../base/memory-reader.ts";
import type { Address, Bytes } from "../base/units.ts";

const pageBytes = 4096;
/** Of 8 KiB each: programs have a few hundred kilobytes of function data. */
const mostPages = 4096;

/** Small pieces of read-only data of the target (function data), kept by page since they cannot change. */
export class ConstantData {
  private readonly memory: MemoryReader;
  private readonly pages = new Map<number, Buffer>();

  constructor(memory: MemoryReader) {
    this.memory = memory;
  }

  /** Up to `length` (at most 4096) bytes; fewer, even none, where memory ends. */
  read(address: Address, length: Bytes): Buffer {
    const page = Math.floor(address / pageBytes) * pageBytes;
    let data = this.pages.get(page);
    if (data === undefined) {
      // A page and the next one, so that a piece never lies across two entries.
      data = tryRead(this.memory, page, 2 * pageBytes) ?? tryRead(this.memory, page, pageBytes) ?? Buffer.alloc(0);
      if (this.pages.size >= mostPages) this.pages.clear();
      this.pages.set(page, data);
    }
    return data.subarray(address - page, address - page + length);
  }
}
