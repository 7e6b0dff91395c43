/** The protobuf wire format (https://protobuf.dev/programming-guides/encoding/), as much of it as profile.proto needs. */
import { ProcscopeError } from "../base/errors.ts";

const TWO_32 = 4294967296;

/** Writes fields into one growing buffer that can be taken out in pieces. */
export class ProtobufWriter {
  private buffer = Buffer.allocUnsafe(1 << 16);
  length = 0;

  /** The bytes so far; valid until the next write. */
  bytes(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  /** A copy of the bytes so far, and an empty buffer again. */
  take(): Buffer {
    const copy = Buffer.from(this.bytes());
    this.length = 0;
    return copy;
  }

  /** An unsigned or negative integer; a number beyond 2^53 goes in with the precision that it has. */
  varint(value: number | bigint): void {
    if (this.length + 10 > this.buffer.length) this.reserve(10);
    if (typeof value === "bigint" || value < 0 || value >= Number.MAX_SAFE_INTEGER) {
      this.bigVarint(value);
      return;
    }
    const { buffer } = this;
    while (value > 0x7fffffff) {
      buffer[this.length++] = (value % 128) | 0x80;
      value = Math.floor(value / 128);
    }
    while (value > 127) {
      buffer[this.length++] = (value & 0x7f) | 0x80;
      value >>>= 7;
    }
    buffer[this.length++] = value;
  }

  private bigVarint(value: number | bigint): void {
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest > 127n; rest >>= 7n) this.buffer[this.length++] = Number(rest & 0x7fn) | 0x80;
    this.buffer[this.length++] = Number(rest);
  }

  /** A varint field; left out when 0, as proto3 does. */
  number(field: number, value: number | bigint): void {
    if (value === 0 || value === 0n) return;
    this.varint(field << 3);
    this.varint(value);
  }

  flag(field: number, value: boolean): void {
    if (value) this.number(field, 1);
  }

  /** A length-delimited field: text, a packed list or a message that another writer holds. */
  field(field: number, bytes: Uint8Array): void {
    this.varint((field << 3) | 2);
    this.varint(bytes.length);
    this.raw(bytes);
  }

  /** Bytes that are fields already. */
  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  private reserve(bytes: number): void {
    if (this.length + bytes <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.length + bytes));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }
}

export function malformed(what: string): ProcscopeError {
  return new ProcscopeError("MALFORMED", `not a valid profile: ${what}`);
}

/** Reads fields of one message: `while (reader.next()) switch (reader.field) …`. Throws MALFORMED past any end. */
export class ProtobufReader {
  private readonly bytes: Uint8Array;
  private position: number;
  private readonly end: number;
  field = 0;
  private wire = 0;
  /** The 64 bits of the last varint. */
  private low = 0;
  private high = 0;
  /** Of the last length-delimited field. */
  start = 0;
  stop = 0;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.position = start;
    this.end = end;
  }

  /** Moves to the next field and reads its value. */
  next(): boolean {
    if (this.position >= this.end) return false;
    this.readVarint();
    if (this.high !== 0) throw malformed("field number out of range");
    this.field = this.low >>> 3;
    this.wire = this.low & 7;
    if (this.wire === 0) this.readVarint();
    else if (this.wire === 2) this.readSpan();
    else if (this.wire === 1) this.position += 8;
    else if (this.wire === 5) this.position += 4;
    else throw malformed(`wire type ${this.wire}`);
    if (this.position > this.end) throw malformed("a field passes the end");
    return true;
  }

  /** The unread rest as varints of a packed list: `while (packed.more()) packed.unsigned()`. */
  more(): boolean {
    if (this.position >= this.end) return false;
    this.readVarint();
    return true;
  }

  get isSpan(): boolean {
    return this.wire === 2;
  }

  /** The field's bytes as a message or packed list. */
  message(): ProtobufReader {
    if (this.wire !== 2) throw malformed(`field ${this.field} is not a message`);
    return new ProtobufReader(this.bytes, this.start, this.stop);
  }

  /** The last varint as an unsigned number; beyond 2^53 the low bits are lost. */
  unsigned(): number {
    return (this.high >>> 0) * TWO_32 + (this.low >>> 0);
  }

  /** The last varint as a signed number, exact within ±2^53. */
  signed(): number {
    return this.high * TWO_32 + (this.low >>> 0);
  }

  /** The last varint exactly. */
  exact(): bigint {
    return (BigInt(this.high >>> 0) << 32n) | BigInt(this.low >>> 0);
  }

  private readSpan(): void {
    this.readVarint();
    this.start = this.position;
    this.stop = this.position + this.unsigned();
    this.position = this.stop;
  }

  private readVarint(): void {
    const { bytes } = this;
    let byte = bytes[this.position++]!;
    if (byte < 0x80) {
      this.low = byte;
      this.high = 0;
      return;
    }
    let low = byte & 0x7f;
    let high = 0;
    for (let shift = 7; ; shift += 7) {
      if (this.position >= this.end || shift > 63) throw malformed("a number passes its end");
      byte = bytes[this.position++]!;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) break;
    }
    this.low = low;
    this.high = high;
  }
}
