import { cString, u64 } from "../base/bytes.ts";
import { ProcscopeError } from "../base/errors.ts";
import { type MemoryReader, tryRead } from "../base/memory-reader.ts";
import { countUpTo } from "../base/sorted.ts";
import type { Address, Bytes } from "../base/units.ts";

/** One function of a {@link Pclntab}: made once per function, so callers may keep it and compare it by identity. */
export interface PcFunction {
  readonly name: string;
  readonly entry: Address;
  /** Bytes of arguments (runtime._func.args); ArgsSizeUnknown is -0x80000000. */
  readonly argsSize: number;
  /** internal/abi.FuncID; its numbers moved between versions. */
  readonly funcId: number;
  /** internal/abi.FuncFlag: 1 top of stack, 2 writes SP, 4 assembly; 0 before Go 1.17. */
  readonly flag: number;
  /** Line of the func keyword since Go 1.20, 0 before. */
  readonly startLine: number;
  /** Places of this function's pc-value tables, for {@link Pclntab.pcValue}. */
  readonly pcsp: number;
  readonly pcfile: number;
  readonly pcln: number;
  /** Where its compilation unit's files begin in the table of files; 0 before Go 1.16. */
  readonly unit: number;
  readonly pcDataCount: number;
  readonly funcDataCount: number;
  /** Where its u32 PCDATA offsets lie in the table; FUNCDATA follows them. */
  readonly pcDataAt: number;
  readonly funcDataAt: number;
}

/** The formats by their magic number (debug/gosym, cmd/link): what they are called and how old a runtime wrote them. */
const formats: ReadonlyMap<number, PclntabFormat> = new Map([
  [0xfffffffb, { name: "Go 1.2", offsets: -1, relative: false, unit: false, startLine: false }],
  [0xfffffffa, { name: "Go 1.16", offsets: 24, relative: false, unit: true, startLine: false }],
  [0xfffffff0, { name: "Go 1.18", offsets: 32, relative: true, unit: true, startLine: false }],
  [0xfffffff1, { name: "Go 1.20", offsets: 32, relative: true, unit: true, startLine: true }],
]);

interface PclntabFormat {
  readonly name: string;
  /** Where the header's five table offsets begin (names, units, files, pc-values, functions); -1 where it has none. */
  readonly offsets: number;
  /** Whether entries are u32 offsets from the module's text, and FUNCDATA u32 offsets from gofunc. */
  readonly relative: boolean;
  readonly unit: boolean;
  readonly startLine: boolean;
}

/** The magic numbers as the first byte of the header; the other three are 0xff. */
export const pclntabMagics: readonly number[] = [...formats.keys()].map((magic) => magic & 0xff);

/** No function has more pairs in one pc-value table; a hostile one must not cost more than a moment. */
const mostPairs = 1 << 20;
const mostFunctions = 20_000_000;
/** The largest fixed part of a function's record behind its entry. */
const mostFixed: Bytes = 40;
/** Of a name that is looked up in the target. */
const longestRemoteName: Bytes = 4096;

/**
 * Function tables of one module (runtime/symtab.go, cmd/link/internal/ld/pcln.go), copied from memory once: names,
 * entries, frame sizes, files, lines, inlining. Formats of Go 1.2, 1.16, 1.18 and 1.20 and later.
 *
 * The table is hostile input: an offset that leads nowhere gives "unknown" (-1, undefined, ""), never an exception.
 */
export class Pclntab {
  readonly functionCount: number;
  readonly format: string;
  private readonly kind: PclntabFormat;
  private table: Buffer;
  private readonly base: Address;
  private readonly text: Address;
  private readonly gofunc: Address;
  private readonly minimum: number;
  private readonly namesAt: number;
  private readonly unitsAt: number;
  private readonly filesAt: number;
  private readonly pcTablesAt: number;
  private readonly functionsAt: number;
  /** Where the list of functions begins and how wide its elements are: entry, offset of the record. */
  private readonly listAt: number;
  private readonly listWidth: Bytes;
  /** Entries as offsets from text and one more, the end of the last function. */
  private entries: Float64Array;
  /** Offsets of the function records from `functionsAt`. */
  private records: Float64Array;
  private readonly known: (PcFunction | null | undefined)[] = [];
  /** Set by {@link release}. */
  private memory: MemoryReader | undefined;
  private readonly names = new Map<number, string>();
  private readonly files = new Map<number, string>();
  private readonly where = { file: "?", line: 0 };

  /** Copies the table [`start`, `end`) of a module. Throws MALFORMED where it is not one. */
  static read(
    memory: MemoryReader,
    start: Address,
    end: Address,
    module: { readonly text: Address; readonly gofunc: Address },
  ): Pclntab {
    const size = end - start;
    const table = size >= 80 && size <= 1 << 30 ? tryRead(memory, start, size) : undefined;
    if (table === undefined) throw malformed(`${size} bytes at 0x${start.toString(16)} cannot be read`);
    try {
      return new Pclntab(table, start, module.text, module.gofunc);
    } catch (cause) {
      if (cause instanceof RangeError) throw malformed("it ends before what its header promises", cause);
      throw cause;
    }
  }

  constructor(table: Buffer, base: Address, text: Address, gofunc: Address) {
    const kind = formats.get(table.readUInt32LE(0));
    if (kind === undefined || table[7] !== 8) throw malformed("its magic number or pointer size is unknown");
    this.kind = kind;
    this.format = kind.name;
    this.table = table;
    this.base = base;
    this.text = text;
    this.gofunc = gofunc;
    this.minimum = table.readUInt8(6);
    this.functionCount = u64(table, 8);
    if (this.functionCount > mostFunctions) throw malformed(`${this.functionCount} functions`);
    const at = (index: number): number => (kind.offsets < 0 ? 0 : u64(table, kind.offsets + 8 * index));
    this.namesAt = at(0);
    this.unitsAt = at(1);
    this.filesAt = at(2);
    this.pcTablesAt = at(3);
    this.functionsAt = at(4);
    const width = kind.relative ? 8 : 16;
    const list = kind.offsets < 0 ? 16 : this.functionsAt;
    this.listAt = list;
    this.listWidth = width;
    if (list + width * this.functionCount + width / 2 > table.length) throw malformed("its functions lie outside");
    this.entries = new Float64Array(this.functionCount + 1);
    this.records = new Float64Array(this.functionCount);
    this.readList(list, width);
    if (kind.offsets < 0) this.filesAt = table.readUInt32LE(list + width * this.functionCount + 8);
  }

  private readList(list: number, width: number): void {
    const { table, entries, records, functionCount } = this;
    for (let i = 0; i <= functionCount; i++) {
      const at = list + width * i;
      entries[i] = this.listedEntry(table, at);
      if (i < functionCount) records[i] = this.listedRecord(table, at);
    }
  }

  /** An element of the list of functions: the entry as an offset from text. */
  private listedEntry(bytes: Buffer, at: number): number {
    return this.kind.relative ? bytes.readUInt32LE(at) : u64(bytes, at) - this.text;
  }

  /** The same: the offset of the function's record. */
  private listedRecord(bytes: Buffer, at: number): number {
    return this.kind.relative ? bytes.readUInt32LE(at + 4) : u64(bytes, at + 8);
  }

  /** The function whose code holds `pc`, or undefined outside of this module's text. */
  find(pc: Address): PcFunction | undefined {
    const offset = pc - this.text;
    const { entries, functionCount } = this;
    if (this.memory) return this.findRemote(this.memory, offset);
    if (functionCount === 0 || !(offset >= entries[0]! && offset < entries[functionCount]!)) return undefined;
    return this.functionAt(countUpTo(entries, offset) - 1);
  }

  private functionAt(index: number): PcFunction | undefined {
    const known = this.known[index];
    if (known !== undefined) return known ?? undefined;
    let made: PcFunction | null = null;
    try {
      made = this.readFunction(index);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
    this.known[index] = made;
    return made ?? undefined;
  }

  private readFunction(index: number): PcFunction {
    const at = this.functionsAt + this.records[index]! + (this.kind.relative ? 4 : 8);
    const name = this.nameAt(this.table.readInt32LE(at));
    return this.parseFunction(this.table, at, at, this.text + this.entries[index]!, name);
  }

  /** runtime._func behind its entry: at `at` in `bytes`, at `place` in the table. */
  private parseFunction(bytes: Buffer, at: number, place: number, entry: Address, name: string): PcFunction {
    const { kind } = this;
    let next = at + 28;
    const unit = kind.unit ? bytes.readUInt32LE(next) : 0;
    if (kind.unit) next += 4;
    const startLine = kind.startLine ? bytes.readInt32LE(next) : 0;
    if (kind.startLine) next += 4;
    const pcDataCount = bytes.readUInt32LE(at + 24);
    const pcDataAt = place + (next - at) + 4;
    let funcDataAt = pcDataAt + 4 * pcDataCount;
    // Before 1.18 FUNCDATA are pointers, aligned in memory.
    if (!kind.relative && ((funcDataAt + this.base) & 7) !== 0) funcDataAt += 4;
    return {
      name,
      entry,
      argsSize: bytes.readInt32LE(at + 4),
      funcId: bytes.readUInt8(next),
      flag: kind.unit ? bytes.readUInt8(next + 1) : 0,
      startLine,
      pcsp: bytes.readUInt32LE(at + 12),
      pcfile: bytes.readUInt32LE(at + 16),
      pcln: bytes.readUInt32LE(at + 20),
      unit,
      pcDataCount,
      funcDataCount: bytes.readUInt8(next + 3),
      pcDataAt,
      funcDataAt,
    };
  }

  /**
   * Gives the copy back, for who keeps a runtime for long and needs little of its code: functions are found as before,
   * each looked up in the target's own table; what lies behind their offsets (positions, frames, data) is unknown.
   */
  release(memory: MemoryReader): void {
    this.memory = memory;
    this.table = Buffer.alloc(0);
    this.entries = new Float64Array(0);
    this.records = new Float64Array(0);
    this.known.length = 0;
    this.names.clear();
    this.files.clear();
  }

  /** Some twenty small readings. */
  private findRemote(memory: MemoryReader, offset: number): PcFunction | undefined {
    const element = (index: number): { entry: number; record: number } | undefined => {
      const bytes = tryRead(memory, this.base + this.listAt + this.listWidth * index, this.listWidth);
      if (!bytes) return undefined;
      return { entry: this.listedEntry(bytes, 0), record: this.listedRecord(bytes, 0) };
    };
    // Behind the last function stands the end of them all; of that element only the entry is there.
    const { listAt, listWidth, functionCount, base } = this;
    const end = tryRead(memory, base + listAt + listWidth * functionCount, listWidth / 2);
    if (!end || !(offset >= 0 && offset < this.listedEntry(end, 0))) return undefined;
    let low = 0;
    let high = functionCount;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((element(middle)?.entry ?? Number.NaN) <= offset) low = middle;
      else high = middle;
    }
    const found = element(low);
    if (!found || found.entry > offset) return undefined;
    const place = this.functionsAt + found.record + (this.kind.relative ? 4 : 8);
    const record = tryRead(memory, base + place, mostFixed);
    if (!record) return undefined;
    const name = Buffer.alloc(longestRemoteName);
    const length = memory.readInto(name, 0, name.length, base + this.namesAt + record.readInt32LE(0));
    const text = cString(name.subarray(0, length), 0, length);
    return this.parseFunction(record, 0, place, this.text + found.entry, text);
  }

  /**
   * All functions in address order whose name begins with `prefix`: for looking one up by name, for reference
   * witnesses. Names that do not are passed over without making strings of them.
   */
  *functions(prefix = ""): Generator<{ readonly name: string; readonly entry: Address; readonly size: Bytes }> {
    const { table, entries } = this;
    const start = Buffer.from(prefix, "latin1");
    const nameAt = this.functionsAt + (this.kind.relative ? 4 : 8);
    for (let i = 0; i < this.functionCount; i++) {
      const record = nameAt + this.records[i]!;
      if (record + 4 > table.length) continue;
      const name = this.namesAt + table.readInt32LE(record);
      let same = 0;
      while (same < start.length && table[name + same] === start[same]) same++;
      if (same < start.length) continue;
      yield {
        name: this.nameAt(name - this.namesAt),
        entry: this.text + entries[i]!,
        size: entries[i + 1]! - entries[i]!,
      };
    }
  }

  /** A name by its offset in the name table (inline trees hold such offsets); "" where it leads nowhere. */
  nameAt(offset: number): string {
    const known = this.names.get(offset);
    if (known !== undefined) return known;
    const at = this.namesAt + offset;
    const name = at > 0 && at < this.table.length ? cString(this.table, at, 1 << 16) : "";
    this.names.set(offset, name);
    return name;
  }

  /** PC-value table `table` of a function at `pc`; -1 where it has no value there. */
  pcValue(fn: PcFunction, table: number, pc: Address): number {
    if (table === 0) return -1;
    const bytes = this.table;
    const offset = pc - fn.entry;
    let at = this.pcTablesAt + table;
    let reached = 0;
    let value = -1;
    for (let pair = 0; pair < mostPairs; pair++) {
      let delta = 0;
      let shift = 0;
      let byte: number;
      do {
        byte = at < bytes.length ? bytes[at++]! : 0;
        delta |= (byte & 0x7f) << shift;
        shift += 7;
      } while (byte >= 0x80 && shift < 35);
      if (delta === 0 && pair > 0) return -1;
      value = (value + (delta & 1 ? ~(delta >>> 1) : delta >>> 1)) | 0;
      let advance = 0;
      shift = 0;
      do {
        byte = at < bytes.length ? bytes[at++]! : 0;
        advance |= (byte & 0x7f) << shift;
        shift += 7;
      } while (byte >= 0x80 && shift < 35);
      reached += (advance >>> 0) * this.minimum;
      if (offset < reached) return value;
    }
    return -1;
  }

  /** PCDATA table `index` at `pc`, -1 where there is none (internal/abi PCDATA_*). */
  pcData(fn: PcFunction, index: number, pc: Address): number {
    const at = fn.pcDataAt + 4 * index;
    if (index >= fn.pcDataCount || at + 4 > this.table.length) return -1;
    return this.pcValue(fn, this.table.readUInt32LE(at), pc);
  }

  /** The address of FUNCDATA `index` (internal/abi FUNCDATA_*), 0 where there is none. */
  funcData(fn: PcFunction, index: number): Address {
    if (index >= fn.funcDataCount) return 0;
    const width = this.kind.relative ? 4 : 8;
    const at = fn.funcDataAt + width * index;
    if (at + width > this.table.length) return 0;
    if (!this.kind.relative) return u64(this.table, at);
    const offset = this.table.readUInt32LE(at);
    return offset === 0xffffffff ? 0 : this.gofunc + offset;
  }

  /** Frame size in bytes at `pc`: how far the stack pointer is below the caller's return address; undefined where unknown. */
  frameSize(fn: PcFunction, pc: Address): number | undefined {
    const size = this.pcValue(fn, fn.pcsp, pc);
    return size < 0 ? undefined : size;
  }

  /**
   * Source position of physical code at `pc` (the innermost inlined call's position). File "?" and line 0 where unknown.
   * The result is overwritten by the next call: callers cache what they need by program counter.
   */
  position(fn: PcFunction, pc: Address): { readonly file: string; readonly line: number } {
    const number = this.pcValue(fn, fn.pcfile, pc);
    const line = this.pcValue(fn, fn.pcln, pc);
    const known = number >= 0 && line >= 0;
    this.where.file = known ? this.file(fn, number) : "?";
    this.where.line = known ? line : 0;
    return this.where;
  }

  private file(fn: PcFunction, number: number): string {
    const { table, kind } = this;
    const slot = kind.unit ? this.unitsAt + 4 * (fn.unit + number) : this.filesAt + 4 * number;
    if (slot + 4 > table.length) return "?";
    const offset = table.readUInt32LE(slot);
    if (offset === 0xffffffff) return "?";
    let file = this.files.get(offset);
    if (file === undefined) {
      const at = (kind.unit ? this.filesAt : 0) + offset;
      file = at < table.length ? cString(table, at, 1 << 16) : "?";
      this.files.set(offset, file);
    }
    return file;
  }
}

function malformed(what: string, cause?: unknown): ProcscopeError {
  return new ProcscopeError("MALFORMED", `the program's function table cannot be used: ${what}`, { cause });
}
