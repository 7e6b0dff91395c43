/**
 * Little-endian readers over a byte buffer. Node's own readers throw a RangeError past the end; these follow them, so
 * that a bound that was forgotten is an error and never a wrong value.
 */

const TWO_32 = 4294967296;

/** An unsigned 64-bit word as a number. Words of 2^53 and more lose their low bits: they are never valid addresses. */
export function u64(buffer: Buffer, offset: number): number {
  return buffer.readUInt32LE(offset) + buffer.readUInt32LE(offset + 4) * TWO_32;
}

/** A signed 64-bit word as a number, exact within ±2^53. */
export function i64(buffer: Buffer, offset: number): number {
  return buffer.readUInt32LE(offset) + buffer.readInt32LE(offset + 4) * TWO_32;
}

/** A NUL-terminated string of at most `limit` bytes, without the NUL. Ends at the buffer's end too. */
export function cString(buffer: Buffer, offset: number, limit = 4096): string {
  const end = Math.min(buffer.length, offset + limit);
  const nul = buffer.indexOf(0, offset);
  return buffer.toString("utf8", offset, nul < 0 || nul > end ? end : nul);
}

/** An unsigned LEB128 number: returns [value, offset after it]. Throws RangeError past 10 bytes or the buffer's end. */
export function uvarint(buffer: Buffer, offset: number): [value: number, next: number] {
  let value = 0;
  let scale = 1;
  for (let i = 0; i < 10; i++) {
    const byte = buffer.readUInt8(offset + i);
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return [value, offset + i + 1];
    scale *= 128;
  }
  throw new RangeError("varint longer than 10 bytes");
}
