/** All functions of an ELF file by address, from .symtab and .dynsym, as columns: for naming code of any language. */
import { cString, u64 } from "../base/bytes.ts";
import { countUpTo } from "../base/sorted.ts";
import type { Address } from "../base/units.ts";
import type { ElfFile } from "./elf.ts";

const SHT_SYMTAB = 2;
const SHT_DYNSYM = 11;
const STT_FUNC = 2;
const STT_GNU_IFUNC = 10;
const entryBytes = 24;
const longestName = 4096;
/** A symbol without a size (assembly) reaches to the next one, but not further than this. */
const mostUnsized = 1 << 20;

interface Entry {
  readonly address: Address;
  readonly size: number;
  readonly names: Buffer;
  readonly name: number;
}

export class ElfFunctions {
  readonly #starts: Float64Array;
  readonly #entries: readonly Entry[];

  /** Reads both tables; empty where the file was stripped of them. */
  constructor(elf: ElfFile) {
    const entries = [...entriesOf(elf, SHT_SYMTAB), ...entriesOf(elf, SHT_DYNSYM)];
    this.#entries = entries.sort((a, b) => a.address - b.address || b.size - a.size);
    this.#starts = Float64Array.from(this.#entries, (entry) => entry.address);
  }

  get count(): number {
    return this.#entries.length;
  }

  /** The linker's name of the function at an address of the file (before the load bias), or undefined. */
  lookup(address: Address): string | undefined {
    const behind = countUpTo(this.#starts, address);
    // Of several names for one address the first holds; a function that encloses others may begin some entries before.
    for (let i = behind - 1, tries = 0; i >= 0 && tries < 8; i--, tries++) {
      const { address: start, size, names, name } = this.#entries[i]!;
      if (address < start + (size || mostUnsized)) return cString(names, name, longestName);
    }
    return undefined;
  }
}

function entriesOf(elf: ElfFile, type: number): Entry[] {
  const table = elf.sections.find((section) => section.type === type);
  const strings = table && elf.sections[table.link];
  const bytes = table && elf.contents(table);
  const names = strings && elf.contents(strings);
  if (!bytes || !names) return [];
  const entries: Entry[] = [];
  for (let at = 0; at + entryBytes <= bytes.length; at += entryBytes) {
    const kind = bytes[at + 4]! & 15;
    const defined = bytes.readUInt16LE(at + 6) !== 0;
    const name = bytes.readUInt32LE(at);
    if (!defined || (kind !== STT_FUNC && kind !== STT_GNU_IFUNC) || name >= names.length) continue;
    entries.push({ address: u64(bytes, at + 8), size: u64(bytes, at + 16), names, name });
  }
  return entries;
}
