import { Int32Column } from "./columns.ts";

/**
 * Numbers pairs of integers: the first pair is 0, the next new one 1, and so on. An open-addressing hash table over two
 * columns, so that interning a million stacks makes no million objects.
 */
export class PairTable {
  readonly first: Int32Column = new Int32Column();
  readonly second: Int32Column = new Int32Column();
  /** Row + 1 of each slot, 0 where it is free. At most half full, so that probing stays short. */
  private slots = new Int32Array(256);

  get length(): number {
    return this.first.length;
  }

  /** The row of the pair; it is new when the row equals the length before the call. */
  intern(a: number, b: number): number {
    const mask = this.slots.length - 1;
    for (let slot = hash(a, b) & mask; ; slot = (slot + 1) & mask) {
      const row = this.slots[slot]! - 1;
      if (row < 0) return this.append(a, b, slot);
      if (this.first.data[row] === a && this.second.data[row] === b) return row;
    }
  }

  private append(a: number, b: number, slot: number): number {
    const row = this.first.length;
    this.first.push(a);
    this.second.push(b);
    this.slots[slot] = row + 1;
    if (this.first.length * 2 > this.slots.length) this.rehash();
    return row;
  }

  private rehash(): void {
    const slots = new Int32Array(this.slots.length * 2);
    const mask = slots.length - 1;
    for (let row = 0; row < this.first.length; row++) {
      let slot = hash(this.first.data[row]!, this.second.data[row]!) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = row + 1;
    }
    this.slots = slots;
  }
}

/** Mixes both numbers into all bits (the finalizer of MurmurHash3): neighbours must not share a run of slots. */
function hash(a: number, b: number): number {
  let h = Math.imul(a, 0x9e3779b1) ^ Math.imul(b + 0x7f4a7c15, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
