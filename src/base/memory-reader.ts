import { ProcscopeError } from "./errors.ts";
import type { Address, Bytes } from "./units.ts";

/**
 * Where the memory of a target comes from: a live process, a core file, a fixture. Everything that reads a target goes
 * through this interface, so that nothing above it knows which of them it is.
 *
 * Pointers found in the target refer to the target's address space and mean nothing in ours.
 */
export interface MemoryReader {
  /**
   * Copies up to `length` bytes from `address` to `target[offset…]`. Returns how many bytes were copied before the
   * first one that is not readable; never throws for an unreadable address. Throws NO_PROCESS or PERMISSION only.
   */
  readInto(target: Uint8Array, offset: number, length: Bytes, address: Address): Bytes;

  /**
   * Copies many ranges at once. Range i is `lengths[i]` bytes at `addresses[i]`; afterwards `into.offsets[i]` is the
   * place of its first byte in `into.data`, or -1 where the range could not be read whole. The contents stay until
   * the next call with the same buffer.
   */
  readRanges(addresses: Float64Array, lengths: Uint32Array, count: number, into: RangeBuffer): void;
}

/** A reusable destination for {@link MemoryReader.readRanges}. */
export interface RangeBuffer {
  data: Buffer;
  offsets: Int32Array;
}

export function newRangeBuffer(): RangeBuffer {
  return { data: Buffer.alloc(0), offsets: new Int32Array(0) };
}

/** Reads exactly `length` bytes, or returns undefined where any of them is not readable. */
export function tryRead(memory: MemoryReader, address: Address, length: Bytes): Buffer | undefined {
  const buffer = Buffer.allocUnsafe(length);
  return memory.readInto(buffer, 0, length, address) === length ? buffer : undefined;
}

/** One call of readRanges never brings more than this: callers read in batches. */
const mostBytes = 1 << 30;

/** Makes the buffer large enough. Throws MALFORMED where that would be more than 1 GiB: no honest target asks for it. */
export function reserveRanges(into: RangeBuffer, total: Bytes): void {
  if (total > mostBytes)
    throw new ProcscopeError("MALFORMED", "a single reading of more than 1 GiB of the target's memory was refused");
  if (into.data.length < total)
    into.data = Buffer.allocUnsafeSlow(Math.max(total, Math.min(2 * into.data.length, mostBytes)));
}
