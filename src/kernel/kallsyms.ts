/**
 * Names of kernel functions by address: /proc/kallsyms, parsed in place into columns. Addresses are numbers as in
 * perf samples: the signed value of the word, so negative.
 */
import { readFileSync } from "node:fs";
import { countUpTo } from "../base/sorted.ts";

const newline = 10;
const space = 32;
const tab = 9;
/** Letters of nm(1) for code: T, t, W, w. */
const isText = (letter: number): boolean => letter === 84 || letter === 116 || letter === 87 || letter === 119;

export class KernelSymbols {
  readonly #text: Buffer;
  /** Start addresses in ascending order, and where each name begins in #text. */
  readonly #addresses: Float64Array;
  readonly #names: Uint32Array;

  private constructor(text: Buffer, addresses: Float64Array, names: Uint32Array) {
    this.#text = text;
    this.#addresses = addresses;
    this.#names = names;
  }

  /**
   * Reads the kernel's table (some 200,000 names, 10 MB). Undefined where it is not there or shows only
   * zeros for want of rights (kernel.kptr_restrict, CAP_SYSLOG): kernel frames then have no names.
   */
  static read(path = "/proc/kallsyms"): KernelSymbols | undefined {
    try {
      return KernelSymbols.parse(readFileSync(path));
    } catch {
      return undefined;
    }
  }

  /** Parses the text of a kallsyms file; undefined where it holds no address. Keeps the buffer. */
  static parse(text: Buffer): KernelSymbols | undefined {
    let addresses = new Float64Array(1 << 18);
    let names = new Uint32Array(1 << 18);
    let count = 0;
    let sorted = true;
    for (let at = 0; at < text.length; ) {
      const end = lineEnd(text, at);
      // "ffffffff81000000 T name" or, for modules, "… t name\t[module]".
      if (end - at > 19 && text[at + 16] === space && isText(text[at + 17]!)) {
        const address = signedHex(text, at);
        if (address !== 0) {
          if (count === addresses.length) [addresses, names] = [grownFloat(addresses), grownInt(names)];
          if (count > 0 && address < addresses[count - 1]!) sorted = false;
          addresses[count] = address;
          names[count++] = at + 19;
        }
      }
      at = end + 1;
    }
    if (count === 0) return undefined;
    return sorted
      ? new KernelSymbols(text, addresses.subarray(0, count), names.subarray(0, count))
      : inOrder(text, addresses, names, count, (t, a, n) => new KernelSymbols(t, a, n));
  }

  get count(): number {
    return this.#addresses.length;
  }

  /** The function at a (negative) address, "name" or "name [module]"; undefined below the first one. */
  lookup(address: number): string | undefined {
    const behind = countUpTo(this.#addresses, address);
    if (behind === 0) return undefined;
    const at = this.#names[behind - 1]!;
    return this.#text.toString("latin1", at, lineEnd(this.#text, at)).replace("\t", " ");
  }

  /** The address of a function by its name, or undefined. Slow: for checks, not for samples. */
  find(name: string): number | undefined {
    for (let i = 0; i < this.#names.length; i++) {
      const at = this.#names[i]!;
      const after = this.#text[at + name.length];
      if (
        (after === newline || after === tab || after === undefined) &&
        this.#text.toString("latin1", at, at + name.length) === name
      ) {
        return this.#addresses[i];
      }
    }
    return undefined;
  }
}

function inOrder<T>(
  text: Buffer,
  addresses: Float64Array,
  names: Uint32Array,
  count: number,
  make: (text: Buffer, addresses: Float64Array, names: Uint32Array) => T,
): T {
  const order = new Uint32Array(count).map((_, i) => i).sort((a, b) => addresses[a]! - addresses[b]!);
  const sortedAddresses = new Float64Array(count);
  const sortedNames = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    sortedAddresses[i] = addresses[order[i]!]!;
    sortedNames[i] = names[order[i]!]!;
  }
  return make(text, sortedAddresses, sortedNames);
}

function lineEnd(text: Buffer, at: number): number {
  const end = text.indexOf(newline, at);
  return end < 0 ? text.length : end;
}

/** 16 hexadecimal digits as a signed 64-bit number. */
function signedHex(text: Buffer, at: number): number {
  let high = 0;
  let low = 0;
  for (let i = 0; i < 8; i++) high = (high << 4) | hexDigit(text[at + i]!);
  for (let i = 8; i < 16; i++) low = (low << 4) | hexDigit(text[at + i]!);
  return (low >>> 0) + high * 4294967296;
}

function hexDigit(code: number): number {
  return code <= 57 ? code - 48 : (code | 32) - 87;
}

function grownFloat(column: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(column.length * 2);
  larger.set(column);
  return larger;
}

function grownInt(column: Uint32Array): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(column.length * 2);
  larger.set(column);
  return larger;
}
