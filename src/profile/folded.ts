/**
 * Folded stacks (https://github.com/brendangregg/FlameGraph): a line a stack, `root;caller;leaf count`. What perf's
 * stackcollapse scripts, py-spy's raw format, async-profiler's collapsed format and bpftrace users write.
 */
import { Int32Column } from "../base/columns.ts";
import { ProfileBuilder } from "./builder.ts";
import { frameTree, selfValues } from "./frame-tree.ts";
import type { Profile, ValueType } from "./model.ts";
import { malformed } from "./protobuf.ts";

/** Characters gathered before they are given on. */
const chunkLength = 1 << 20;

const NEWLINE = 10;
const SPACE = 32;
const SEMICOLON = 59;
const MAX_DEPTH = 1 << 16;

/** Lines for one sample type; stacks without a value are left out. `;` and line ends in names become `:` and spaces. */
export function* foldedChunks(
  profile: Profile,
  type = profile.defaultType,
  onProgress: (part: number) => void = () => {},
): Generator<Buffer> {
  const tree = frameTree(profile, "name");
  const self = selfValues(tree, profile, type);
  const names = tree.names.map((name) => name.replace(/;/g, ":").replace(/[\r\n]+/g, " "));
  const path: string[] = [];
  // Strings, which V8 joins faster than names can be copied as bytes.
  let text = "";
  // Node 0 is the empty stack: py-spy and others write it as a count alone.
  for (let node = 0; node < tree.count; node++) {
    const value = Math.round(self[node]!);
    if (value === 0) continue;
    path.length = 0;
    for (let at = node; at > 0; at = tree.parent[at]!) path.push(names[tree.frame[at]!]!);
    text += `${path.reverse().join(";")} ${value}\n`;
    if (text.length < chunkLength) continue;
    yield Buffer.from(text);
    text = "";
    onProgress(node / tree.count);
  }
  yield Buffer.from(text);
}

/**
 * Reads folded stacks. Values are summed for equal stacks; blank lines and lines that begin with # are skipped. Throws
 * MALFORMED with the line's number where a line has no count.
 */
export function decodeFolded(bytes: Uint8Array, valueType: ValueType = { type: "samples", unit: "count" }): Profile {
  return new FoldedReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), valueType).read();
}

class FoldedReader {
  private readonly bytes: Buffer;
  private readonly builder: ProfileBuilder;
  private readonly names: NameTable;
  private readonly value = [0];

  constructor(bytes: Buffer, valueType: ValueType) {
    this.bytes = bytes;
    this.builder = new ProfileBuilder({ sampleTypes: [valueType] });
    this.names = new NameTable(bytes, (name) => this.builder.location(this.builder.function(name)));
  }

  read(): Profile {
    const { bytes } = this;
    let number = 1;
    for (let start = 0; start < bytes.length; number++) {
      const newline = bytes.indexOf(NEWLINE, start);
      const end = newline < 0 ? bytes.length : newline;
      this.line(start, bytes[end - 1] === 13 ? end - 1 : end, number);
      start = end + 1;
    }
    return this.builder.finish();
  }

  private line(start: number, end: number, number: number): void {
    const { bytes } = this;
    while (end > start && bytes[end - 1] === SPACE) end--;
    if (end <= start || bytes[start] === 35) return;
    let space = end - 1;
    while (space > start && bytes[space] !== SPACE) space--;
    const count = Number(bytes.toString("latin1", space + 1, end));
    if (bytes[space] !== SPACE || !Number.isFinite(count)) throw malformed(`line ${number} is not "frame;frame count"`);
    let stack = 0;
    let depth = 0;
    for (let at = start; at <= space && space > start; ) {
      let stop = at;
      while (stop < space && bytes[stop] !== SEMICOLON) stop++;
      stack = this.builder.push(stack, this.names.intern(at, stop));
      if (++depth > MAX_DEPTH) throw malformed(`line ${number} is deeper than ${MAX_DEPTH} frames`);
      at = stop + 1;
    }
    this.value[0] = count;
    this.builder.add(stack, this.value);
  }
}

/** Byte ranges of the input to locations, without making a string for each occurrence. */
class NameTable {
  private readonly bytes: Buffer;
  private readonly make: (name: string) => number;
  private slots = new Int32Array(1024);
  private readonly hashes = new Int32Column();
  private readonly starts: number[] = [];
  private readonly lengths = new Int32Column();
  private readonly ids = new Int32Column();

  constructor(bytes: Buffer, make: (name: string) => number) {
    this.bytes = bytes;
    this.make = make;
  }

  intern(start: number, end: number): number {
    const { bytes } = this;
    let hash = 0x811c9dc5;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
    hash ^= hash >>> 15;
    const mask = this.slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const row = this.slots[slot]! - 1;
      if (row < 0) return this.append(hash, start, end, slot);
      if (this.hashes.data[row] === hash && this.same(row, start, end)) return this.ids.data[row]!;
    }
  }

  private same(row: number, start: number, end: number): boolean {
    const length = end - start;
    const from = this.starts[row]!;
    if (this.lengths.data[row] !== length) return false;
    for (let i = 0; i < length; i++) if (this.bytes[from + i] !== this.bytes[start + i]) return false;
    return true;
  }

  private append(hash: number, start: number, end: number, slot: number): number {
    const id = this.make(this.bytes.toString("utf8", start, end));
    this.hashes.push(hash);
    this.starts.push(start);
    this.lengths.push(end - start);
    this.ids.push(id);
    this.slots[slot] = this.ids.length;
    if (this.ids.length * 2 > this.slots.length) this.rehash();
    return id;
  }

  private rehash(): void {
    const slots = new Int32Array(this.slots.length * 2);
    const mask = slots.length - 1;
    for (let row = 0; row < this.ids.length; row++) {
      let slot = this.hashes.data[row]! & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = row + 1;
    }
    this.slots = slots;
  }
}
