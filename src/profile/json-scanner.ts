import { malformed } from "./protobuf.ts";

const QUOTE = 34;
const BACKSLASH = 92;
const MAX_NESTING = 512;

/**
 * Walks JSON in bytes without making values of it: for files of which JSON.parse would make millions of objects. It is
 * as strict as the walk needs; what it skips it only brackets. Throws MALFORMED.
 */
export class JsonScanner {
  readonly bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Calls `each` with every key of the object here; `each` must consume the value. */
  object(each: (key: string) => void): void {
    this.list(123, 125, () => {
      const key = this.string();
      this.expect(58);
      each(key);
    });
  }

  /** Calls `each` at every element of the array here; `each` must consume it. */
  array(each: () => void): void {
    this.list(91, 93, each);
  }

  private list(open: number, close: number, each: () => void): void {
    this.expect(open);
    if (this.peek() === close) {
      this.at++;
      return;
    }
    for (;;) {
      each();
      const next = this.peek();
      this.at++;
      if (next === close) return;
      if (next !== 44) throw this.wrong();
    }
  }

  /** The next byte that is not white space. */
  peek(): number {
    const { bytes } = this;
    while (this.at < bytes.length) {
      const byte = bytes[this.at]!;
      if (byte !== 32 && byte !== 10 && byte !== 13 && byte !== 9) return byte;
      this.at++;
    }
    throw this.wrong();
  }

  private expect(byte: number): void {
    if (this.peek() !== byte) throw this.wrong();
    this.at++;
  }

  string(): string {
    this.peek();
    const start = this.at;
    this.skipString();
    const inner = this.bytes.toString("latin1", start + 1, this.at - 1);
    // Keys are plain ASCII but in files made to be different.
    return /^[\x20-\x7e]*$/.test(inner) && !inner.includes("\\") ? inner : this.parse<string>(start);
  }

  number(): number {
    const { bytes } = this;
    let byte = this.peek();
    const start = this.at;
    const negative = byte === 45;
    if (negative) this.at++;
    let value = 0;
    let digits = 0;
    for (; this.at < bytes.length; this.at++, digits++) {
      byte = bytes[this.at]!;
      if (byte < 48 || byte > 57) break;
      value = value * 10 + byte - 48;
    }
    if (digits === 0) throw this.wrong();
    if (byte !== 46 && byte !== 101 && byte !== 69) return negative ? -value : value;
    while (this.at < bytes.length && /[\d.eE+-]/.test(String.fromCharCode(bytes[this.at]!))) this.at++;
    const exact = Number(bytes.toString("latin1", start, this.at));
    if (!Number.isFinite(exact)) throw this.wrong();
    return exact;
  }

  /** Passes over a value of any kind. */
  skip(): void {
    let nesting = 0;
    do {
      const byte = this.peek();
      if (byte === QUOTE) this.skipString();
      else {
        this.at++;
        if (byte === 123 || byte === 91) nesting++;
        else if (byte === 125 || byte === 93) nesting--;
        else if (nesting === 0) this.skipWord();
      }
      if (nesting > MAX_NESTING) throw malformed("JSON is nested too deep");
    } while (nesting > 0);
    if (nesting < 0) throw this.wrong();
  }

  /** A value as JSON.parse makes it, from `start` to where the scanner is. */
  parse<T>(start: number): T {
    try {
      return JSON.parse(this.bytes.toString("utf8", start, this.at)) as T;
    } catch {
      throw this.wrong();
    }
  }

  private skipString(): void {
    if (this.bytes[this.at] !== QUOTE) throw this.wrong();
    for (;;) {
      const end = this.bytes.indexOf(QUOTE, this.at + 1);
      if (end < 0) throw this.wrong();
      this.at = end;
      let slashes = 0;
      while (this.bytes[end - 1 - slashes] === BACKSLASH) slashes++;
      if (slashes % 2 === 0) break;
    }
    this.at++;
  }

  /** The rest of a number, true, false or null. */
  private skipWord(): void {
    while (this.at < this.bytes.length && /[\w.+-]/.test(String.fromCharCode(this.bytes[this.at]!))) this.at++;
  }

  private wrong(): Error {
    return malformed(`JSON goes wrong at byte ${this.at}`);
  }
}
