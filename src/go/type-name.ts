/** Names of types from their descriptors: internal/abi.Type and abi.Name (before Go 1.18: runtime._type, runtime.name). */
import { uvarint } from "../base/bytes.ts";
import { tryRead } from "../base/memory-reader.ts";
import type { Address } from "../base/units.ts";
import type { GoRuntime } from "./runtime.ts";

/** abi.Type: Size_, PtrBytes, Hash, TFlag at 20, align, fieldAlign, kind, Equal, GCData, Str at 40. */
const flagOffset = 20;
const nameOffset = 40;
const headerBytes = 44;
/** TFlagExtraStar: the name is stored as that of the pointer to it. */
const extraStar = 2;
const longestName = 4096;

/** The name of the type whose descriptor lies at `address`; undefined where it is none or was made at run time. */
export function typeName(runtime: GoRuntime, address: Address): string | undefined {
  const module = runtime.modules.find(({ types, etypes }) => address >= types && address < etypes);
  const header = module && tryRead(runtime.memory, address, headerBytes);
  if (!module || !header) return undefined;
  const at = module.types + header.readInt32LE(nameOffset);
  if (at < module.types || at >= module.etypes) return undefined;
  const bytes = tryRead(runtime.memory, at, Math.min(longestName, module.etypes - at));
  const name = bytes && nameText(bytes, runtime.version.minor);
  return name !== undefined && (header[flagOffset]! & extraStar) !== 0 ? name.replace(/^\*/, "") : name;
}

/** A flag byte, the length (a varint since Go 1.17, two bytes before), the text. */
function nameText(bytes: Buffer, minor: number): string | undefined {
  try {
    const [length, start] = minor >= 17 ? uvarint(bytes, 1) : [bytes.readUInt16BE(1), 3];
    return start + length <= bytes.length ? bytes.toString("utf8", start, start + length) : undefined;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
