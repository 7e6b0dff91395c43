/** Channels as the runtime keeps them: runtime.hchan (runtime/chan.go). */
import { u64 } from "../base/bytes.ts";
import { tryRead } from "../base/memory-reader.ts";
import type { Address, Bytes } from "../base/units.ts";
import type { GoRuntime } from "./runtime.ts";
import { typeName } from "./type-name.ts";

export interface Channel {
  readonly address: Address;
  /** Elements in its buffer now. */
  readonly length: number;
  readonly capacity: number;
  readonly elementSize: Bytes;
  /** The element's type as its package writes it, or undefined where it could not be read. */
  readonly elementType: string | undefined;
  readonly closed: boolean;
  /** Whether a timer feeds it (time.After, Ticker): known since Go 1.23, undefined before. */
  readonly timer: boolean | undefined;
}

/** Reads a channel; undefined where there is none at the address. */
export function readChannel(runtime: GoRuntime, address: Address): Channel | undefined {
  const offset = (path: string): number => runtime.layout.field("hchan", path)?.offset ?? -1;
  const [length, capacity, elementSize, closed] = ["qcount", "dataqsiz", "elemsize", "closed"].map(offset);
  const timer = offset("timer");
  const type = offset("elemtype");
  if (length! < 0 || capacity! < 0 || elementSize! < 0 || closed! < 0 || type < 0) return undefined;
  const size = Math.max(length!, capacity!, elementSize!, closed!, timer, type) + 8;
  const bytes = tryRead(runtime.memory, address, size);
  if (!bytes || u64(bytes, length!) > u64(bytes, capacity!)) return undefined;
  return {
    address,
    length: u64(bytes, length!),
    capacity: u64(bytes, capacity!),
    elementSize: bytes.readUInt16LE(elementSize!),
    elementType: typeName(runtime, u64(bytes, type)),
    closed: bytes.readUInt32LE(closed!) !== 0,
    timer: timer < 0 ? undefined : u64(bytes, timer) !== 0,
  };
}
