/**
 * Structure layouts from DWARF 4 and 5 debugging information, as far as the Go toolchain writes it: which fields a
 * structure has, where they lie and how large they are. Nothing of code, lines or variables.
 */
import { cString, u64, uvarint } from "../base/bytes.ts";
import { ProcscopeError } from "../base/errors.ts";
import type { Bytes } from "../base/units.ts";
import type { ElfFile } from "./elf.ts";

export interface DwarfMember {
  readonly name: string;
  readonly offset: Bytes;
  readonly size: Bytes;
  /** The member's type where that is a structure. */
  readonly struct: DwarfStruct | undefined;
}

export interface DwarfStruct {
  readonly name: string;
  readonly size: Bytes;
  readonly members: readonly DwarfMember[];
}

const TAG = {
  array: 0x01,
  pointer: 0x0f,
  compileUnit: 0x11,
  struct: 0x13,
  typedef: 0x16,
  subrange: 0x21,
  member: 0x0d,
  variable: 0x34,
};
const AT = { name: 0x03, byteSize: 0x0b, upperBound: 0x2f, count: 0x37, location: 0x38, type: 0x49 };

interface Abbreviation {
  readonly tag: number;
  readonly children: boolean;
  /** Pairs of attribute and form, and the constant of DW_FORM_implicit_const. */
  readonly attributes: readonly { readonly name: number; readonly form: number; readonly constant: number }[];
}

interface Unit {
  readonly start: number;
  readonly end: number;
  readonly dies: number;
  readonly version: number;
  readonly addressSize: number;
  readonly wide: boolean;
  readonly abbreviations: Map<number, Abbreviation>;
}

/** One entry; the same object is filled again for each. */
interface Die {
  at: number;
  tag: number;
  children: boolean;
  name: string;
  byteSize: number;
  type: number;
  location: number;
  count: number;
}

/** A program's types lie in one unit; a deeper nesting or longer chain than this is not one that a compiler wrote. */
const mostNesting = 16;

export class DwarfTypes {
  private readonly info: Buffer;
  private readonly abbrev: Buffer;
  private readonly strings: Buffer | undefined;
  private readonly units: Unit[];
  private readonly structs = new Map<number, DwarfStruct>();
  private readonly die: Die = emptyDie();

  /** The types of a file, or undefined where it has no debugging information. Throws MALFORMED. */
  static of(elf: ElfFile): DwarfTypes | undefined {
    const info = elf.debugSection("info");
    const abbrev = elf.debugSection("abbrev");
    if (info === undefined || abbrev === undefined) return undefined;
    return guarded(() => new DwarfTypes(info, abbrev, elf.debugSection("str")));
  }

  private constructor(info: Buffer, abbrev: Buffer, strings: Buffer | undefined) {
    this.info = info;
    this.abbrev = abbrev;
    this.strings = strings;
    this.units = this.readUnits();
  }

  /** The named structures, those that are there. Throws MALFORMED. */
  find(names: ReadonlySet<string>): Map<string, DwarfStruct> {
    return this.search(names, TAG.struct, (unit, die) =>
      die.byteSize === 0 ? undefined : this.struct(unit, die.at, 0),
    );
  }

  /** The types of the named variables where those are structures, also ones without a name. Throws MALFORMED. */
  ofVariables(names: ReadonlySet<string>): Map<string, DwarfStruct> {
    return this.search(names, TAG.variable, (_unit, die) => this.resolve(die.type, 0).struct);
  }

  private search(
    names: ReadonlySet<string>,
    tag: number,
    take: (unit: Unit, die: Die) => DwarfStruct | undefined,
  ): Map<string, DwarfStruct> {
    return guarded(() => {
      const found = new Map<string, DwarfStruct>();
      for (const unit of this.units) {
        // Only the top level is looked at: the linker writes types and variables as children of a unit.
        this.children(unit, unit.dies, (die) => {
          if (die.tag !== tag || !names.has(die.name) || found.has(die.name)) return;
          const { name } = die;
          const struct = take(unit, die);
          if (struct) found.set(name, struct);
        });
        if (found.size === names.size) break;
      }
      return found;
    });
  }

  private struct(unit: Unit, at: number, nesting: number): DwarfStruct {
    const known = this.structs.get(at);
    if (known !== undefined) return known;
    this.read(unit, at);
    const members: DwarfMember[] = [];
    const struct = { name: this.die.name, size: this.die.byteSize, members };
    this.structs.set(at, struct);
    const raw: { name: string; offset: number; type: number }[] = [];
    this.childrenOf(unit, at, (die) => {
      if (die.tag === TAG.member) raw.push({ name: die.name, offset: die.location, type: die.type });
    });
    for (const member of raw) {
      const type = this.resolve(member.type, nesting + 1);
      members.push({ name: member.name, offset: member.offset, size: type.size, struct: type.struct });
    }
    return struct;
  }

  private resolve(at: number, nesting: number): { size: Bytes; struct: DwarfStruct | undefined } {
    const unit = this.units.find((u) => at >= u.start && at < u.end);
    if (unit === undefined || nesting > mostNesting) return { size: 0, struct: undefined };
    this.read(unit, at);
    const { tag, byteSize, type } = this.die;
    if (tag === TAG.struct) {
      const struct = this.struct(unit, at, nesting);
      return { size: struct.size, struct };
    }
    if (tag === TAG.typedef) return this.resolve(type, nesting + 1);
    if (tag === TAG.pointer) return { size: unit.addressSize, struct: undefined };
    if (tag === TAG.array && byteSize === 0) {
      let count = 0;
      this.childrenOf(unit, at, (die) => {
        if (die.tag === TAG.subrange) count = die.count;
      });
      return { size: count * this.resolve(type, nesting + 1).size, struct: undefined };
    }
    return { size: byteSize, struct: undefined };
  }

  private childrenOf(unit: Unit, at: number, visit: (die: Die) => void): void {
    const first = this.read(unit, at);
    if (this.die.children) this.children(unit, first, visit);
  }

  /** Visits the entries from `at` to the end of their list; the entry that is given is only valid within the call. */
  private children(unit: Unit, at: number, visit: (die: Die) => void): void {
    const die = emptyDie();
    for (let depth = 0; at < unit.end; ) {
      at = this.readInto(unit, at, die);
      if (die.tag === 0) {
        if (--depth < 0) return;
        continue;
      }
      if (depth === 0) visit(die);
      if (die.children) depth++;
    }
  }

  private read(unit: Unit, at: number): number {
    return this.readInto(unit, at, this.die);
  }

  private readInto(unit: Unit, at: number, die: Die): number {
    const info = this.info;
    die.at = at;
    let [code, next] = uvarint(info, at);
    if (code === 0) {
      die.tag = 0;
      return next;
    }
    const abbreviation = unit.abbreviations.get(code);
    if (abbreviation === undefined) throw new RangeError("unknown abbreviation");
    die.tag = abbreviation.tag;
    die.children = abbreviation.children;
    die.name = "";
    die.byteSize = die.type = die.location = die.count = 0;
    for (const { name, form, constant } of abbreviation.attributes) {
      if (name === AT.name && form === 0x08) {
        const end = info.indexOf(0, next);
        // Names are only needed of these: a program has hundreds of thousands of others.
        if (die.tag === TAG.struct || die.tag === TAG.member || die.tag === TAG.variable)
          die.name = info.toString("latin1", next, end);
        next = end + 1;
        continue;
      }
      const value = this.value(unit, form, next, constant);
      next = value.next;
      if (name === AT.name) die.name = value.text;
      else if (name === AT.byteSize) die.byteSize = value.number;
      else if (name === AT.type) die.type = value.number;
      else if (name === AT.location) die.location = value.number;
      else if (name === AT.count) die.count = value.number;
      else if (name === AT.upperBound) die.count = value.number + 1;
    }
    return next;
  }

  private readonly out = { number: 0, text: "", next: 0 };

  /** One attribute's value (DWARF 5, 7.5.6). Throws RangeError for a form that is not known or past the end. */
  private value(
    unit: Unit,
    form: number,
    at: number,
    constant: number,
  ): { number: number; text: string; next: number } {
    const { info, out } = this;
    const word = unit.wide ? 8 : 4;
    const fixed = (size: number): typeof out => {
      out.number = size === 0 ? constant : size === 8 ? u64(info, at) : size > 8 ? 0 : info.readUIntLE(at, size);
      out.next = at + size;
      return out;
    };
    const block = (length: number, from: number): typeof out => {
      // A location of a member: DW_OP_plus_uconst N.
      out.number = length > 1 && info[from] === 0x23 ? uvarint(info, from + 1)[0] : 0;
      out.next = from + length;
      return out;
    };
    switch (form) {
      case 0x01:
        return fixed(unit.addressSize);
      case 0x0b:
      case 0x0c:
        return fixed(1);
      case 0x29:
      case 0x25:
        return fixed(1);
      case 0x05:
      case 0x2a:
      case 0x26:
        return fixed(2);
      case 0x27:
      case 0x2b:
        return fixed(3);
      case 0x06:
      case 0x28:
      case 0x2c:
        return fixed(4);
      case 0x07:
      case 0x20:
        return fixed(8);
      case 0x1e:
        return fixed(16);
      case 0x17:
        return fixed(word);
      case 0x10:
        return fixed(word);
      case 0x11:
        fixed(1);
        break;
      case 0x12:
        fixed(2);
        break;
      case 0x13:
        fixed(4);
        break;
      case 0x14:
        fixed(8);
        break;
      case 0x15:
        [out.number, out.next] = uvarint(info, at);
        break;
      case 0x0d:
      case 0x0f:
      case 0x1a:
      case 0x1b:
      case 0x22:
      case 0x23:
        [out.number, out.next] = uvarint(info, at);
        return out;
      case 0x19:
        out.number = 1;
        out.next = at;
        return out;
      case 0x21:
        return fixed(0);
      case 0x08: {
        const end = info.indexOf(0, at);
        if (end < 0) throw new RangeError("string without end");
        out.text = info.toString("latin1", at, end);
        out.next = end + 1;
        return out;
      }
      case 0x0e:
      case 0x1f:
        fixed(word);
        out.text = form === 0x0e && this.strings !== undefined ? cString(this.strings, out.number, 512) : "";
        return out;
      case 0x0a:
        return block(info.readUInt8(at), at + 1);
      case 0x03:
        return block(info.readUInt16LE(at), at + 2);
      case 0x04:
        return block(info.readUInt32LE(at), at + 4);
      case 0x09:
      case 0x18:
        return block(...uvarint(info, at));
      default:
        throw new RangeError(`unknown form 0x${form.toString(16)}`);
    }
    out.number += unit.start; // the reference forms count from the start of the unit
    return out;
  }

  private readUnits(): Unit[] {
    const units: Unit[] = [];
    const tables = new Map<number, Map<number, Abbreviation>>();
    for (let at = 0; at + 11 < this.info.length; ) {
      const unit = this.readUnit(at, tables);
      units.push(unit);
      at = unit.end;
    }
    return units;
  }

  private readUnit(start: number, tables: Map<number, Map<number, Abbreviation>>): Unit {
    const info = this.info;
    let at = start;
    let length = info.readUInt32LE(at);
    at += 4;
    const wide = length === 0xffffffff;
    if (wide) {
      length = u64(info, at);
      at += 8;
    }
    const end = at + length;
    const version = info.readUInt16LE(at);
    at += 2;
    if (end > info.length || version < 2 || version > 5) throw new RangeError("a unit of another version");
    let addressSize = 0;
    if (version === 5) {
      addressSize = info.readUInt8(at + 1);
      at += 2;
    }
    const abbrevAt = wide ? u64(info, at) : info.readUInt32LE(at);
    at += wide ? 8 : 4;
    if (version < 5) addressSize = info.readUInt8(at++);
    let abbreviations = tables.get(abbrevAt);
    if (abbreviations === undefined) {
      abbreviations = readAbbreviations(this.abbrev, abbrevAt);
      tables.set(abbrevAt, abbreviations);
    }
    const unit = { start, end, dies: at, version, addressSize, wide, abbreviations };
    // The first entry is the unit itself: the types are its children.
    return { ...unit, dies: this.readInto(unit, at, this.die) };
  }
}

function readAbbreviations(table: Buffer, at: number): Map<number, Abbreviation> {
  const found = new Map<number, Abbreviation>();
  for (;;) {
    let code: number;
    [code, at] = uvarint(table, at);
    if (code === 0) return found;
    let tag: number;
    [tag, at] = uvarint(table, at);
    const children = table.readUInt8(at++) === 1;
    const attributes: { name: number; form: number; constant: number }[] = [];
    for (;;) {
      const [name, next] = uvarint(table, at);
      let [form, after] = uvarint(table, next);
      let constant = 0;
      if (form === 0x21) [constant, after] = uvarint(table, after);
      at = after;
      if (name === 0 && form === 0) break;
      attributes.push({ name, form, constant });
    }
    found.set(code, { tag, children, attributes });
  }
}

function emptyDie(): Die {
  return { at: 0, tag: 0, children: false, name: "", byteSize: 0, type: 0, location: 0, count: 0 };
}

function guarded<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof ProcscopeError) throw cause;
    throw new ProcscopeError("MALFORMED", "the debugging information does not hold together", { cause });
  }
}
