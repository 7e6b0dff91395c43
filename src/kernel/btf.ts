/**
 * BTF, the type information that the kernel carries of itself (Documentation/bpf/btf.rst): where each member of each of
 * its structures lies in the kernel that runs now. Read from /sys/kernel/btf/vmlinux; walked once, looked up by need.
 */
import { readFileSync } from "node:fs";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import type { Bytes } from "../base/units.ts";

/** BTF_KIND_* (include/uapi/linux/btf.h). */
export const btfKind = {
  int: 1,
  pointer: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  forward: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  func: 12,
  funcProto: 13,
  variable: 14,
  dataSection: 15,
  float: 16,
  declTag: 17,
  typeTag: 18,
  enum64: 19,
} as const;

/** Bytes that follow the 12 of every type, by kind: [fixed, per element of vlen]. */
const tail: Record<number, readonly [number, number]> = {
  1: [4, 0],
  2: [0, 0],
  3: [12, 0],
  4: [0, 12],
  5: [0, 12],
  6: [0, 8],
  7: [0, 0],
  8: [0, 0],
  9: [0, 0],
  10: [0, 0],
  11: [0, 0],
  12: [0, 0],
  13: [0, 8],
  14: [4, 0],
  15: [0, 12],
  16: [0, 0],
  17: [4, 0],
  18: [0, 0],
  19: [0, 12],
};

/** A type by its number in this kernel's BTF. */
export type BtfId = number;

export interface BtfMember {
  /** From the start of the structure that was asked, in bytes. */
  readonly offset: Bytes;
  /** The member's own type without typedefs and qualifiers. */
  readonly type: BtfId;
  readonly size: Bytes;
}

const maxDepth = 32;

export class Btf {
  readonly #data: Buffer;
  readonly #strings: Buffer;
  /** Offset of type i in #data. */
  readonly #offsets: Uint32Array;
  /** How many types there are, void (number 0) included. */
  readonly count: number;

  /** Throws MALFORMED where the bytes are not BTF of this machine's byte order. */
  constructor(data: Buffer) {
    if (data.length < 24 || data.readUInt16LE(0) !== 0xeb9f) throw malformed("no BTF magic");
    const header = data.readUInt32LE(4);
    const types = header + data.readUInt32LE(8);
    const typesEnd = types + data.readUInt32LE(12);
    const strings = header + data.readUInt32LE(16);
    const stringsEnd = strings + data.readUInt32LE(20);
    if (typesEnd > data.length || stringsEnd > data.length) throw malformed("sections past the end");
    this.#data = data;
    this.#strings = data.subarray(strings, stringsEnd);
    [this.#offsets, this.count] = walkTypes(data, types, typesEnd);
  }

  /** The first type of a kind with a name, or undefined. */
  find(kind: number, name: string): BtfId | undefined {
    // Every type that carries this name refers to the same place of the string table, as pahole merges equal strings.
    const wanted = this.#stringOffset(name);
    if (wanted === undefined) return undefined;
    const data = this.#data;
    for (let id = 1; id < this.count; id++) {
      const at = this.#offsets[id]!;
      if (data.readUInt32LE(at) === wanted && kindAt(data, at) === kind) return id;
    }
    return undefined;
  }

  /** Like {@link find}; throws UNSUPPORTED_HERE where this kernel has no such type. */
  get(kind: number, name: string): BtfId {
    const id = this.find(kind, name);
    if (id === undefined) throw new ProcscopeError("UNSUPPORTED_HERE", `this kernel's BTF has no type ${name}`);
    return id;
  }

  /**
   * A member by its path ("se.sum_exec_runtime"); members of anonymous structures and unions are found as in C. Paths
   * do not follow pointers: see {@link pointee}. Undefined where there is none.
   */
  findMember(struct: BtfId, path: string): BtfMember | undefined {
    let offset = 0;
    let type = this.resolve(struct);
    for (const name of path.split(".")) {
      const member = this.#member(type, name, 0);
      if (!member) return undefined;
      offset += member.offset;
      type = this.resolve(member.type);
    }
    return { offset, type, size: this.size(type) };
  }

  /** The first of the paths that exists: members get renamed between kernels. Throws UNSUPPORTED_HERE where none does. */
  member(struct: BtfId, ...paths: readonly string[]): BtfMember {
    for (const path of paths) {
      const member = this.findMember(struct, path);
      if (member) return member;
    }
    throw new ProcscopeError(
      "UNSUPPORTED_HERE",
      `this kernel's ${this.name(struct)} has no member ${paths.join(" or ")}`,
    );
  }

  /** What a pointer type points to. Throws MALFORMED where it is no pointer. */
  pointee(pointer: BtfId): BtfId {
    const at = this.#at(this.resolve(pointer));
    if (kindAt(this.#data, at) !== btfKind.pointer) throw malformed("a type is no pointer");
    return this.resolve(this.#data.readUInt32LE(at + 8));
  }

  /** The element type of an array, or undefined where the type is no array. */
  element(array: BtfId): BtfId | undefined {
    const at = this.#at(this.resolve(array));
    return kindAt(this.#data, at) === btfKind.array ? this.resolve(this.#data.readUInt32LE(at + 12)) : undefined;
  }

  /** The type behind typedefs and qualifiers. */
  resolve(type: BtfId): BtfId {
    let id = type;
    for (let depth = 0; depth < maxDepth; depth++) {
      const at = this.#at(id);
      const kind = kindAt(this.#data, at);
      const passes =
        kind === btfKind.typedef ||
        kind === btfKind.volatile ||
        kind === btfKind.const ||
        kind === btfKind.restrict ||
        kind === btfKind.typeTag;
      if (!passes) return id;
      id = this.#data.readUInt32LE(at + 8);
    }
    throw malformed("typedefs without an end");
  }

  /** The size of a type in bytes; 0 for void and functions. */
  size(type: BtfId): Bytes {
    const at = this.#at(this.resolve(type));
    const kind = kindAt(this.#data, at);
    if (kind === btfKind.pointer) return 8;
    if (kind === btfKind.array) return this.#data.readUInt32LE(at + 20) * this.size(this.#data.readUInt32LE(at + 12));
    const sized =
      kind === btfKind.int ||
      kind === btfKind.struct ||
      kind === btfKind.union ||
      kind === btfKind.enum ||
      kind === btfKind.enum64 ||
      kind === btfKind.float;
    return sized ? this.#data.readUInt32LE(at + 8) : 0;
  }

  /** A type's name; "" for an anonymous one. */
  name(type: BtfId): string {
    return this.#stringAt(this.#data.readUInt32LE(this.#at(type)));
  }

  #member(type: BtfId, name: string, depth: number): { offset: Bytes; type: BtfId } | undefined {
    const data = this.#data;
    const at = this.#at(type);
    const info = data.readUInt32LE(at + 4);
    const kind = (info >>> 24) & 31;
    if ((kind !== btfKind.struct && kind !== btfKind.union) || depth > maxDepth) return undefined;
    const bitfields = info >>> 31 === 1;
    for (let i = 0, place = at + 12; i < (info & 0xffff); i++, place += 12) {
      const memberType = data.readUInt32LE(place + 4);
      const bits = data.readUInt32LE(place + 8);
      const offset = (bitfields ? bits & 0xffffff : bits) >>> 3;
      const memberName = this.#stringAt(data.readUInt32LE(place));
      if (memberName === name) return { offset, type: memberType };
      if (memberName !== "") continue;
      const inner = this.#member(this.resolve(memberType), name, depth + 1);
      if (inner) return { offset: offset + inner.offset, type: inner.type };
    }
    return undefined;
  }

  #at(id: BtfId): number {
    // Number 0 is void and has no bytes; the walk put it at the header, whose "kind" is never one that is followed.
    const at = id > 0 && id < this.count ? this.#offsets[id] : undefined;
    if (at === undefined) throw malformed(`a reference to type ${id} of ${this.count}`);
    return at;
  }

  #stringAt(offset: number): string {
    const end = this.#strings.indexOf(0, offset);
    return this.#strings.toString("latin1", offset, end < 0 ? this.#strings.length : end);
  }

  #stringOffset(text: string): number | undefined {
    const at = this.#strings.indexOf(`\0${text}\0`, 0, "latin1");
    return at < 0 ? undefined : at + 1;
  }
}

let kernel: WeakRef<Btf> | undefined;

/**
 * The running kernel's BTF: 12 ms for the 5.5 MB of Linux 6.18, so its answers are not kept in a file, which could be
 * wrong for the next kernel; nor is it kept in memory for longer than somebody uses it. Throws UNSUPPORTED_HERE where
 * the kernel carries none (built without CONFIG_DEBUG_INFO_BTF).
 */
export function kernelBtf(): Btf {
  const known = kernel?.deref();
  if (known) return known;
  const path = "/sys/kernel/btf/vmlinux";
  try {
    const btf = new Btf(readFileSync(path));
    kernel = new WeakRef(btf);
    return btf;
  } catch (cause) {
    if (cause instanceof ProcscopeError) throw cause;
    throw new ProcscopeError(
      "UNSUPPORTED_HERE",
      `the kernel's own type information cannot be read: ${errnoOf(cause)}`,
      {
        hint: `${path} exists on kernels built with CONFIG_DEBUG_INFO_BTF (and where /sys is mounted); without it processes are read through /proc`,
        cause,
      },
    );
  }
}

function walkTypes(data: Buffer, start: number, end: number): [offsets: Uint32Array, count: number] {
  let offsets = new Uint32Array(1 << 17);
  let id = 1;
  let at = start;
  while (at + 12 <= end) {
    if (id === offsets.length) {
      const grown = new Uint32Array(offsets.length * 2);
      grown.set(offsets);
      offsets = grown;
    }
    offsets[id++] = at;
    const info = data.readUInt32LE(at + 4);
    const rule = tail[(info >>> 24) & 31];
    if (!rule) throw malformed(`kind ${(info >>> 24) & 31} of type ${id - 1} is not known`);
    at += 12 + rule[0] + rule[1] * (info & 0xffff);
  }
  if (at !== end) throw malformed("types do not fill their section");
  return [offsets, id];
}

function kindAt(data: Buffer, at: number): number {
  return (data.readUInt32LE(at + 4) >>> 24) & 31;
}

function malformed(what: string): ProcscopeError {
  return new ProcscopeError("MALFORMED", `BTF does not hold together: ${what}`);
}
