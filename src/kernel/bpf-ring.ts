/**
 * The reading side of a BPF ring buffer (Documentation/bpf/ringbuf.rst): one page with our position, one with the
 * kernel's, then the data, mapped twice in a row so that no record is cut by the end.
 */

import { ProcscopeError } from "../base/errors.ts";
import type { Bytes } from "../base/units.ts";
import { mapSharedMemory } from "./shared-mapping.ts";

const pageBytes = 4096;
const busy = 0x80000000;
const discarded = 0x40000000;
const headerBytes = 8;

export class BpfRing {
  readonly #consumer: BigInt64Array;
  readonly #producer: BigInt64Array;
  readonly #data: Buffer;
  readonly #size: Bytes;
  #position = 0;

  /** Maps a ring of `size` bytes by its map's file descriptor. */
  constructor(fd: number, size: Bytes) {
    this.#size = size;
    this.#consumer = new BigInt64Array(map(fd, pageBytes, true, 0));
    const shared = map(fd, pageBytes + 2 * size, false, pageBytes);
    this.#producer = new BigInt64Array(shared, 0, 1);
    this.#data = Buffer.from(shared, pageBytes, 2 * size);
  }

  /** Hands over each complete record: where it lies in `data`, valid during the call, which must not be written to. */
  read(visit: (data: Buffer, at: number, length: number) => void): void {
    const end = Number(Atomics.load(this.#producer, 0));
    while (this.#position < end) {
      const at = this.#position % this.#size;
      // Records are committed in order; one that is still being written ends the turn.
      const header = this.#data.readUInt32LE(at);
      if (header >= busy) break;
      const length = header & (discarded - 1);
      if ((header & discarded) === 0) visit(this.#data, at + headerBytes, length);
      this.#position += (length + headerBytes + 7) & ~7;
    }
    Atomics.store(this.#consumer, 0, BigInt(this.#position));
  }
}

/** The 64-bit counters of {@link createCounterMap}, as numbers. */
export class BpfCounters {
  readonly #values: BigInt64Array;

  constructor(fd: number) {
    this.#values = new BigInt64Array(map(fd, pageBytes, false, 0));
  }

  get(index: number): number {
    return Number(this.#values[index]);
  }
}

function map(fd: number, length: Bytes, write: boolean, offset: Bytes): ArrayBuffer {
  const buffer = mapSharedMemory(fd, length, { write, offset });
  if (buffer instanceof ArrayBuffer) return buffer;
  throw new ProcscopeError("UNSUPPORTED_HERE", `a BPF map cannot be mapped into memory: ${buffer.errno}`);
}
