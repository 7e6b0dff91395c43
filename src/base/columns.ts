/** Growable columns of numbers: what a table without an object per row is made of. */

/** Signed 32-bit numbers. */
export class Int32Column {
  data: Int32Array;
  length = 0;

  constructor(capacity = 64) {
    this.data = new Int32Array(capacity);
  }

  push(value: number): void {
    if (this.length === this.data.length) this.grow();
    this.data[this.length++] = value;
  }

  /** The rows so far; shares memory with the column until it grows. */
  view(): Int32Array {
    return this.data.subarray(0, this.length);
  }

  private grow(): void {
    const larger = new Int32Array(Math.max(16, this.data.length * 2));
    larger.set(this.data);
    this.data = larger;
  }
}

/** Doubles: integers up to 2^53 exactly. */
export class Float64Column {
  data: Float64Array;
  length = 0;

  constructor(capacity = 64) {
    this.data = new Float64Array(capacity);
  }

  push(value: number): void {
    if (this.length === this.data.length) this.grow();
    this.data[this.length++] = value;
  }

  /** The rows so far; shares memory with the column until it grows. */
  view(): Float64Array {
    return this.data.subarray(0, this.length);
  }

  private grow(): void {
    const larger = new Float64Array(Math.max(16, this.data.length * 2));
    larger.set(this.data);
    this.data = larger;
  }
}
