/** Where a program's memory refers to given addresses: every aligned word of its writable memory is looked at. */
import type { MemoryReader } from "../base/memory-reader.ts";
import type { Address, Bytes, Pid } from "../base/units.ts";
import { readProcMaps } from "../kernel/proc-maps.ts";
import { ResidentPages } from "../kernel/resident-pages.ts";

export interface PointerScan {
  /** Where words equal to a wanted address lie, by that address. */
  readonly places: ReadonlyMap<Address, readonly Address[]>;
  /** False where some memory could not be looked at: that nothing refers to an address then proves nothing. */
  readonly complete: boolean;
  readonly bytes: Bytes;
}

const chunk: Bytes = 1 << 20;
/** More resident memory than this is not looked at. */
const mostBytes: Bytes = 4 * 2 ** 30;
/** Places kept for one address: where there are so many, there may be more. */
export const mostPlaces = 4096;
const TWO_32 = 4294967296;

/**
 * Looks through all resident private writable memory of a live process. Nothing is paged in. Throws NO_PROCESS,
 * PERMISSION.
 */
export function scanPointers(pid: Pid, memory: MemoryReader, wanted: ReadonlySet<Address>): PointerScan {
  const places = new Map<Address, Address[]>();
  for (const address of wanted) places.set(address, []);
  const filter = new AddressFilter(wanted);
  const buffer = Buffer.from(new ArrayBuffer(chunk));
  let complete = true;
  let bytes = 0;
  using pages = new ResidentPages(pid);
  for (const mapping of readProcMaps(pid)) {
    if (!mapping.readable || !mapping.writable || mapping.shared) continue;
    for (let at = mapping.start; at < mapping.end; at += chunk) {
      const length = Math.min(chunk, mapping.end - at);
      const residence = pages.of(at, length);
      if (residence === "none") continue;
      if (residence === "swapped" || bytes + length > mostBytes) {
        complete = false;
        continue;
      }
      const copied = memory.readInto(buffer, 0, length, at);
      if (copied < length) complete = false;
      bytes += copied;
      search(new Uint32Array(buffer.buffer, 0, copied >> 2), at, filter, places);
    }
  }
  return { places, complete, bytes };
}

function search(words: Uint32Array, base: Address, filter: AddressFilter, places: Map<Address, Address[]>): void {
  for (let i = 0; i + 1 < words.length; i += 2) {
    const low = words[i]!;
    if (!filter.may(low)) continue;
    const list = places.get(low + words[i + 1]! * TWO_32);
    if (list && list.length < mostPlaces) list.push(base + 4 * i);
  }
}

/** A bit for each value of some bits of the low word: leaves out almost all words with one look. */
class AddressFilter {
  private readonly bits = new Uint8Array(1 << 16);

  constructor(addresses: Iterable<Address>) {
    for (const address of addresses) this.bits[this.index(address % TWO_32)] = 1;
  }

  may(low: number): boolean {
    return this.bits[this.index(low)] === 1;
  }

  private index(low: number): number {
    return ((low >>> 2) ^ (low >>> 18)) & 0xffff;
  }
}
