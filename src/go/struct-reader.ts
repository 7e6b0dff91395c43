import { ProcscopeError } from "../base/errors.ts";
import { tryRead } from "../base/memory-reader.ts";
import type { Address, Bytes } from "../base/units.ts";
import type { Field, RuntimeStruct } from "./layout.ts";
import type { GoRuntime, RuntimeGlobal } from "./runtime.ts";

/** The address of a global that a reader cannot do without. Throws UNSUPPORTED_TARGET where it was not found. */
export function needGlobal(runtime: GoRuntime, name: RuntimeGlobal): Address {
  const address = runtime.globals.get(name);
  if (address === undefined) throw notKnown(runtime, `where runtime.${name} lies`);
  return address;
}

/** A field that a reader cannot do without. Throws UNSUPPORTED_TARGET where the layout does not have it. */
export function needField(runtime: GoRuntime, struct: RuntimeStruct, path: string): Field {
  const field = runtime.layout.field(struct, path);
  if (field === undefined) throw notKnown(runtime, `where ${struct}.${path} lies`);
  return field;
}

export function needSize(runtime: GoRuntime, struct: RuntimeStruct): Bytes {
  const size = runtime.layout.sizeOf(struct);
  if (size === undefined) throw notKnown(runtime, `how large ${struct} is`);
  return size;
}

/** Reads a whole structure. Throws UNREADABLE where it is not mapped. */
export function readBytes(runtime: GoRuntime, address: Address, length: Bytes, what: string): Buffer {
  const bytes = tryRead(runtime.memory, address, length);
  if (bytes) return bytes;
  throw new ProcscopeError("UNREADABLE", `${what} at 0x${address.toString(16)} of the program cannot be read`);
}

/** One runtime structure as it was in memory at one moment, read by field name. */
export class StructView {
  readonly bytes: Buffer;
  private readonly runtime: GoRuntime;
  private readonly struct: RuntimeStruct;

  constructor(runtime: GoRuntime, struct: RuntimeStruct, bytes: Buffer) {
    this.runtime = runtime;
    this.struct = struct;
    this.bytes = bytes;
  }

  has(path: string): boolean {
    return this.runtime.layout.field(this.struct, path) !== undefined;
  }

  /** An unsigned 64-bit field. Throws UNSUPPORTED_TARGET where the layout does not have it. */
  word(path: string, index = 0): bigint {
    return this.bytes.readBigUInt64LE(needField(this.runtime, this.struct, path).offset + 8 * index);
  }

  /** The same, 0 where this version has no such field. */
  wordOr0(path: string): bigint {
    return this.has(path) ? this.word(path) : 0n;
  }

  u32(path: string): number {
    return this.bytes.readUInt32LE(needField(this.runtime, this.struct, path).offset);
  }

  double(path: string): number {
    return this.bytes.readDoubleLE(needField(this.runtime, this.struct, path).offset);
  }
}

function notKnown(runtime: GoRuntime, what: string): ProcscopeError {
  return new ProcscopeError("UNSUPPORTED_TARGET", `not known for ${runtime.version.text} in this program: ${what}`, {
    hint: "procscope doctor --pid N shows what was found in the program and how",
  });
}
