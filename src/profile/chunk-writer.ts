/** Text of many small pieces, gathered into chunks of about a megabyte without a string per piece. */
const CHUNK = 1 << 20;

export class ChunkWriter {
  private buffer = Buffer.allocUnsafe(CHUNK + (CHUNK >> 2));
  private length = 0;

  /** Whether it is time to {@link take}. */
  get full(): boolean {
    return this.length >= CHUNK;
  }

  /** What was written since the last take. */
  take(): Buffer {
    const chunk = this.buffer.subarray(0, this.length);
    this.buffer = Buffer.allocUnsafe(CHUNK + (CHUNK >> 2));
    this.length = 0;
    return chunk;
  }

  byte(code: number): void {
    if (this.length === this.buffer.length) this.reserve(1);
    this.buffer[this.length++] = code;
  }

  bytes(bytes: Uint8Array): void {
    if (this.length + bytes.length > this.buffer.length) this.reserve(bytes.length);
    // A call of set() costs more than copying a short name does.
    if (bytes.length > 64) this.buffer.set(bytes, this.length);
    else for (let i = 0; i < bytes.length; i++) this.buffer[this.length + i] = bytes[i]!;
    this.length += bytes.length;
  }

  text(text: string): void {
    const most = text.length * 3;
    if (this.length + most > this.buffer.length) this.reserve(most);
    this.length += this.buffer.write(text, this.length);
  }

  /** A decimal integer. */
  integer(value: number): void {
    if (this.length + 24 > this.buffer.length) this.reserve(24);
    if (value < 0 || value > 0x7fffffff) {
      this.length += this.buffer.write(String(value), this.length, "latin1");
      return;
    }
    let rest = value | 0;
    let digits = 1;
    for (let limit = 10; limit <= rest && digits < 10; limit *= 10) digits++;
    for (let at = this.length + digits - 1; at >= this.length; at--) {
      const tenth = (rest / 10) | 0;
      this.buffer[at] = 48 + rest - tenth * 10;
      rest = tenth;
    }
    this.length += digits;
  }

  /** A 64-bit number, given as two halves, as 0x1f: without leading zeros. */
  hex(low: number, high: number): void {
    if (this.length + 18 > this.buffer.length) this.reserve(18);
    const { buffer } = this;
    let at = this.length;
    buffer[at++] = 48;
    buffer[at++] = 120;
    let digits = high === 0 ? 8 - (Math.clz32(low | 1) >> 2) : 16 - (Math.clz32(high) >> 2);
    this.length = at + digits;
    while (digits > 0) {
      digits--;
      const nibble = digits >= 8 ? (high >>> (4 * (digits - 8))) & 15 : (low >>> (4 * digits)) & 15;
      buffer[at++] = nibble < 10 ? 48 + nibble : 87 + nibble;
    }
  }

  /** `a,b,c` of integers. */
  integers(values: ArrayLike<number>, count = values.length): void {
    for (let i = 0; i < count; i++) {
      if (i > 0) this.byte(44);
      this.integer(values[i]!);
    }
  }

  private reserve(bytes: number): void {
    const larger = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.length + bytes));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }
}
