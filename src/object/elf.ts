/**
 * ELF-64 little-endian files (elf(5), System V gABI): segments, sections, symbols. Every count, offset and size is
 * checked against the file and bounded; a file that does not hold together throws MALFORMED and never anything else.
 */
import { inflateSync } from "node:zlib";
import { cString, u64 } from "../base/bytes.ts";
import { ProcscopeError } from "../base/errors.ts";
import type { Address, Bytes } from "../base/units.ts";
import type { ByteSource } from "./byte-source.ts";

/** A PT_LOAD program header. */
export interface ElfSegment {
  readonly readable: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
  readonly offset: number;
  readonly address: Address;
  readonly fileSize: Bytes;
  readonly memorySize: Bytes;
}

export interface ElfSection {
  readonly name: string;
  /** SHT_*: 2 symbol table, 8 no bits. */
  readonly type: number;
  /** SHF_*: 0x800 compressed. */
  readonly flags: number;
  readonly address: Address;
  readonly offset: number;
  readonly size: Bytes;
  readonly link: number;
}

export interface ElfSymbol {
  /** As the file has it: add the load bias. */
  readonly address: Address;
  readonly size: Bytes;
}

const mostSegments = 4096;
const mostSections = 1 << 16;
/** No section that we read (symbols, strings, debug information) is larger than this in any program known. */
const mostSectionBytes: Bytes = 1 << 30;

const SHT_SYMTAB = 2;
const SHT_NOBITS = 8;
const SHF_COMPRESSED = 0x800;
const ELFCOMPRESS_ZLIB = 1;

export class ElfFile {
  readonly source: ByteSource;
  /** ET_*: 2 executable, 3 shared (also position independent executables), 4 core. */
  readonly type: number;
  /** EM_*: 62 x86-64, 183 AArch64. */
  readonly machine: number;
  readonly entry: Address;
  /** The PT_LOAD segments in the order of the file. */
  readonly segments: readonly ElfSegment[];
  /** Empty where the section headers were stripped. */
  readonly sections: readonly ElfSection[];

  /** Throws MALFORMED for what is not a 64-bit little-endian ELF file. */
  constructor(source: ByteSource) {
    this.source = source;
    const header = source.read(0, 64);
    if (header === undefined || header.readUInt32BE(0) !== 0x7f454c46) throw malformed(source, "not an ELF file");
    if (header[4] !== 2 || header[5] !== 1) throw malformed(source, "not a 64-bit little-endian ELF file");
    this.type = header.readUInt16LE(16);
    this.machine = header.readUInt16LE(18);
    this.entry = u64(header, 24);
    this.segments = readSegments(source, u64(header, 32), header.readUInt16LE(54), header.readUInt16LE(56));
    this.sections = readSections(source, header);
  }

  section(name: string): ElfSection | undefined {
    return this.sections.find((section) => section.name === name);
  }

  /** The contents of a section, decompressed where it is compressed; undefined where it has none or they are damaged. */
  contents(section: ElfSection): Buffer | undefined {
    if (section.type === SHT_NOBITS || section.size > mostSectionBytes) return undefined;
    const raw = this.source.read(section.offset, section.size);
    if (raw === undefined) return undefined;
    if (section.flags & SHF_COMPRESSED) return decompress(raw);
    if (section.name.startsWith(".zdebug_")) return decompressOld(raw);
    return raw;
  }

  /** Contents of a debugging section under its plain or its old compressed name (".debug_info", ".zdebug_info"). */
  debugSection(name: string): Buffer | undefined {
    const section = this.section(`.debug_${name}`) ?? this.section(`.zdebug_${name}`);
    return section && this.contents(section);
  }

  /**
   * The symbols of .symtab whose name is in `wanted`, or undefined where the file has no symbol table. `prefix` is what
   * all of the wanted names begin with: other names are passed over without making strings of them.
   */
  symbols(wanted: ReadonlySet<string>, prefix: string): Map<string, ElfSymbol> | undefined {
    const table = this.sections.find((section) => section.type === SHT_SYMTAB);
    const strings = table && this.sections[table.link];
    const entries = table && this.contents(table);
    const names = strings && this.contents(strings);
    if (entries === undefined || names === undefined) return undefined;
    const found = new Map<string, ElfSymbol>();
    const start = Buffer.from(prefix, "latin1");
    for (let at = 0; at + 24 <= entries.length; at += 24) {
      const name = entries.readUInt32LE(at);
      if (!startsWith(names, name, start)) continue;
      const text = cString(names, name, 512);
      if (wanted.has(text)) found.set(text, { address: u64(entries, at + 8), size: u64(entries, at + 16) });
    }
    return found;
  }
}

function startsWith(bytes: Buffer, at: number, prefix: Buffer): boolean {
  if (at + prefix.length > bytes.length) return false;
  for (let i = 0; i < prefix.length; i++) if (bytes[at + i] !== prefix[i]) return false;
  return true;
}

function readSegments(source: ByteSource, offset: number, entrySize: number, count: number): ElfSegment[] {
  if (count === 0) return [];
  if (entrySize !== 56 || count > mostSegments)
    throw malformed(source, `${count} program headers of ${entrySize} bytes`);
  const table = source.read(offset, 56 * count);
  if (table === undefined) throw malformed(source, "the program headers lie outside of the file");
  const segments: ElfSegment[] = [];
  for (let at = 0; at < table.length; at += 56) {
    if (table.readUInt32LE(at) !== 1) continue;
    const flags = table.readUInt32LE(at + 4);
    segments.push({
      readable: (flags & 4) !== 0,
      writable: (flags & 2) !== 0,
      executable: (flags & 1) !== 0,
      offset: u64(table, at + 8),
      address: u64(table, at + 16),
      fileSize: u64(table, at + 32),
      memorySize: u64(table, at + 40),
    });
  }
  return segments;
}

/** Section headers; none where the file has none or they are damaged: sections are a help and never needed. */
function readSections(source: ByteSource, header: Buffer): ElfSection[] {
  const offset = u64(header, 40);
  const count = header.readUInt16LE(60);
  if (offset === 0 || count === 0 || header.readUInt16LE(58) !== 64 || count > mostSections) return [];
  const table = source.read(offset, 64 * count);
  if (table === undefined) return [];
  const namesAt = header.readUInt16LE(62);
  if (namesAt >= count) return [];
  const names = source.read(u64(table, 64 * namesAt + 24), Math.min(u64(table, 64 * namesAt + 32), 1 << 24));
  const sections: ElfSection[] = [];
  for (let at = 0; at < table.length; at += 64) {
    const name = table.readUInt32LE(at);
    sections.push({
      name: names !== undefined && name < names.length ? cString(names, name, 256) : "",
      type: table.readUInt32LE(at + 4),
      flags: table.readUInt32LE(at + 8),
      address: u64(table, at + 16),
      offset: u64(table, at + 24),
      size: u64(table, at + 32),
      link: table.readUInt32LE(at + 40),
    });
  }
  return sections;
}

/** SHF_COMPRESSED: struct Elf64_Chdr {type, reserved, size, alignment} and the stream. */
function decompress(raw: Buffer): Buffer | undefined {
  if (raw.length < 24 || raw.readUInt32LE(0) !== ELFCOMPRESS_ZLIB) return undefined;
  return inflate(raw.subarray(24), u64(raw, 8));
}

/** The older GNU form: "ZLIB", the size in eight bytes big-endian, and the stream. */
function decompressOld(raw: Buffer): Buffer | undefined {
  if (raw.length < 12 || raw.toString("latin1", 0, 4) !== "ZLIB") return undefined;
  return inflate(raw.subarray(12), raw.readUInt32BE(4) * 4294967296 + raw.readUInt32BE(8));
}

function inflate(stream: Buffer, size: Bytes): Buffer | undefined {
  if (size > mostSectionBytes) return undefined;
  try {
    return inflateSync(stream, { maxOutputLength: Math.max(1, size) });
  } catch {
    return undefined;
  }
}

function malformed(source: ByteSource, what: string): ProcscopeError {
  return new ProcscopeError("MALFORMED", `${source.name}: ${what}`);
}
