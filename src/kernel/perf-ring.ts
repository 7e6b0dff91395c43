/**
 * The ring that the kernel writes perf records to (perf_event_open(2), "MMAP layout"): one page of control data, then a
 * power of two of pages. Read in place; records are 8-aligned, so one word index taken modulo the ring's length is all
 * that a record which wraps around costs.
 */
import type { Bytes } from "../base/units.ts";
import { type MappingFailure, mapSharedMemory } from "./shared-mapping.ts";

const pageBytes = 4096;
// struct perf_event_mmap_page: data_head at 1024, data_tail at 1032.
const headIndex = 128;
const tailIndex = 129;

export class PerfRing {
  /** The data area as 32-bit words; index them with `& mask`. */
  readonly words: Uint32Array;
  readonly mask: number;
  readonly size: Bytes;
  /** The largest number of bytes that ever waited to be read: how near to full the ring came. */
  highWater: Bytes = 0;
  readonly #control: BigInt64Array;
  #tail = 0;

  private constructor(buffer: ArrayBuffer, size: Bytes) {
    this.size = size;
    this.words = new Uint32Array(buffer, pageBytes, size / 4);
    this.mask = size / 4 - 1;
    this.#control = new BigInt64Array(buffer, 0, pageBytes / 8);
  }

  /** Maps the ring of a perf event; `pages` is a power of two. */
  static map(fd: number, pages: number): PerfRing | MappingFailure {
    const buffer = mapSharedMemory(fd, (1 + pages) * pageBytes, { write: true });
    return buffer instanceof ArrayBuffer ? new PerfRing(buffer, pages * pageBytes) : buffer;
  }

  /**
   * Calls `visit` for each record that is complete, oldest first, with the index of its first word and its type, misc
   * bits and size in bytes; then gives the space back to the kernel. Nothing may be kept of the words after the call.
   */
  read(visit: (words: Uint32Array, mask: number, at: number, type: number, misc: number, size: Bytes) => void): void {
    const { words, mask } = this;
    // Atomics give the acquire and release that the protocol asks for on machines that reorder.
    const head = Number(Atomics.load(this.#control, headIndex));
    let tail = this.#tail;
    this.highWater = Math.max(this.highWater, head - tail);
    while (tail < head) {
      // Positions pass 2^32 words, so no bit operator before the remainder.
      const at = (tail / 4) % (mask + 1);
      const header = words[(at + 1) & mask]!;
      const size = header >>> 16;
      // The kernel never writes such a size; without the check a broken one would hang us.
      if (size < 8 || size > head - tail) {
        tail = head;
        break;
      }
      visit(words, mask, at, words[at]!, header & 0xffff, size);
      tail += size;
    }
    this.#tail = tail;
    Atomics.store(this.#control, tailIndex, BigInt(tail));
  }
}
