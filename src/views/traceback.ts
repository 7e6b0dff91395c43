/**
 * Goroutines as the runtime prints them (runtime/traceback.go): what /debug/pprof/goroutine?debug=2 and runtime.Stack
 * give, byte for byte. A stack that was seen before is text with gaps for its argument words, filled in from the copy
 * of the stack.
 */
import type { Address, Nanoseconds } from "../base/units.ts";
import { type CodePoint, type LogicalFrame, shows } from "../go/code-table.ts";
import type { GoroutineReader } from "../go/goroutine-reader.ts";
import type { GoroutineTable } from "../go/goroutine-table.ts";
import type { StackCopy } from "../go/stack-tree.ts";
import type { ChunkWriter } from "../profile/chunk-writer.ts";
import { HeaderText } from "./traceback-header.ts";

/** Text of a stack: literals around values. */
interface Template {
  readonly literals: readonly Uint8Array[];
  /** Of each value: bytes above the innermost frame's stack pointer. */
  readonly offsets: Int32Array;
  readonly sizes: Uint8Array;
}

interface Creation {
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}

/** Characters of templates kept; stacks that differ more than this are made anew each time. */
const mostTemplateText = 64 << 20;
const goroutineWord = Buffer.from("goroutine ");
const inGoroutine = Buffer.from(" in goroutine ");
const unavailable = Buffer.from("\tgoroutine running on other thread; stack unavailable\n");
const newline = 10;

export class TracebackWriter {
  private readonly reader: GoroutineReader;
  private readonly out: ChunkWriter;
  private readonly header: HeaderText;
  private templates = new Map<number, Template>();
  private templateTree: object | undefined;
  private templateText = 0;
  private readonly creations = new Map<Address, Creation | undefined>();
  private readonly beyond = Buffer.alloc(8);
  private first = true;

  /** `now` is CLOCK_MONOTONIC, by which the runtime measures waiting. */
  constructor(reader: GoroutineReader, out: ChunkWriter, now: Nanoseconds) {
    this.reader = reader;
    this.out = out;
    this.header = new HeaderText(reader, now);
  }

  /** A goroutine whose stack was read. */
  withStack(table: GoroutineTable, row: number, node: number, copy: StackCopy): void {
    this.begin(table, row);
    this.fill(this.templateOf(node), copy, table.stackHigh[row]! - copy.length);
    this.createdBy(table, row);
  }

  /** A goroutine that is on a CPU: the runtime's own words for it. Also for one that never stood still. */
  withoutStack(table: GoroutineTable, row: number): void {
    this.begin(table, row);
    this.out.bytes(unavailable);
    this.createdBy(table, row);
  }

  private begin(table: GoroutineTable, row: number): void {
    const { out } = this;
    if (!this.first) out.byte(newline);
    this.first = false;
    out.bytes(goroutineWord);
    out.integer(table.id[row]!);
    this.header.write(out, table, row);
  }

  private fill(template: Template, copy: StackCopy, sp: Address): void {
    const { literals, offsets, sizes } = template;
    const { out } = this;
    for (let i = 0; i < offsets.length; i++) {
      out.bytes(literals[i]!);
      this.value(copy, sp, offsets[i]!, sizes[i]!);
    }
    out.bytes(literals[offsets.length]!);
  }

  private value(copy: StackCopy, sp: Address, offset: number, size: number): void {
    if (offset + size > copy.length) {
      this.valueBeyond(sp + offset, size);
      return;
    }
    const { words } = copy;
    const at = copy.at + (offset >> 2);
    if ((offset & 3) === 0 && size === 8) this.out.hex(words[at]!, words[at + 1]!);
    else if ((offset & 3) + size <= 4) this.out.hex(small(words[at]! >>> (8 * (offset & 3)), size), 0);
    else {
      const bytes = Buffer.from(words.buffer, words.byteOffset + 4 * copy.at + offset, size);
      this.bytesValue(bytes, size);
    }
  }

  /** The runtime reads arguments wherever its tables say, also above the stack. */
  private valueBeyond(address: Address, size: number): void {
    this.beyond.fill(0);
    this.reader.runtime.memory.readInto(this.beyond, 0, size, address);
    this.bytesValue(this.beyond, size);
  }

  private bytesValue(bytes: Buffer, size: number): void {
    const low = bytes.readUIntLE(0, Math.min(size, 4));
    this.out.hex(low, size > 4 ? bytes.readUIntLE(4, size - 4) : 0);
  }

  private templateOf(node: number): Template {
    // Nodes mean something in their tree only.
    if (this.templateTree !== this.reader.tree || this.templateText > mostTemplateText) {
      this.templateTree = this.reader.tree;
      this.templates = new Map();
      this.templateText = 0;
    }
    let template = this.templates.get(node);
    if (template === undefined) {
      const builder = new TemplateBuilder(this.reader);
      template = builder.build(this.reader.tree.stack(node));
      for (const literal of template.literals) this.templateText += literal.length;
      this.templates.set(node, template);
    }
    return template;
  }

  private createdBy(table: GoroutineTable, row: number): void {
    const pc = table.creationPc[row]!;
    if (table.id[row] === 1 || pc === 0) return;
    let creation = this.creations.get(pc);
    if (creation === undefined && !this.creations.has(pc)) {
      creation = this.makeCreation(pc);
      this.creations.set(pc, creation);
    }
    if (!creation) return;
    const { out } = this;
    out.bytes(creation.before);
    const parent = table.parentId[row]!;
    if (parent !== 0) {
      out.bytes(inGoroutine);
      out.integer(parent);
    }
    out.bytes(creation.after);
  }

  private makeCreation(pc: Address): Creation | undefined {
    const { code } = this.reader;
    const frame = code.creation(pc);
    const fn = code.functionAt(pc);
    if (!frame || !fn || !shows(frame, false, undefined)) return undefined;
    const offset = pc > fn.entry ? ` +0x${(pc - fn.entry).toString(16)}` : "";
    return {
      before: Buffer.from(`created by ${nameInText(frame)}`),
      after: Buffer.from(`\n\t${frame.file}:${frame.line}${offset}\n`),
    };
  }
}

function small(word: number, size: number): number {
  return size === 4 ? word : word & (2 ** (8 * size) - 1);
}

function nameInText(frame: LogicalFrame): string {
  return frame.gopanic ? "panic" : frame.function;
}

/** Which frames of a stack are shown, and their text (runtime traceback1, traceback2; gentraceback before Go 1.21). */
class TemplateBuilder {
  private readonly reader: GoroutineReader;
  private readonly literals: Uint8Array[] = [];
  private readonly offsets: number[] = [];
  private readonly sizes: number[] = [];
  private literal = "";
  private points: readonly CodePoint[] = [];
  /** Of each physical frame: its argument pointer, in bytes above the innermost frame's stack pointer. */
  private argumentPointers = new Float64Array(0);

  constructor(reader: GoroutineReader) {
    this.reader = reader;
  }

  build(points: readonly CodePoint[]): Template {
    this.points = points;
    this.argumentPointers = new Float64Array(points.length);
    let above = 0;
    for (let i = 0; i < points.length; i++) {
      above += points[i]!.frameSize + 8;
      this.argumentPointers[i] = above;
    }
    // Where nothing would be shown, everything is.
    if (this.traceback(false) === 0) this.traceback(true);
    this.literals.push(Buffer.from(this.literal));
    return { literals: this.literals, offsets: Int32Array.from(this.offsets), sizes: Uint8Array.from(this.sizes) };
  }

  private traceback(all: boolean): number {
    const { ends, most } = this.reader.rules;
    const start: Position = { index: 0, callee: undefined };
    if (!ends) {
      const { shown } = this.pass(start, all, 0, Number.MAX_SAFE_INTEGER, most);
      if (shown === most) this.literal += "...additional frames elided...\n";
      return shown;
    }
    const inner = this.pass(start, all, 0, ends.inner);
    if (inner.shown < ends.inner) return inner.shown;
    const rest = this.pass(inner, all, Number.MAX_SAFE_INTEGER, 0).shown;
    const elided = rest - inner.shownOfLast - ends.outer;
    if (elided > 0) this.literal += `...${elided} frames elided...\n`;
    this.pass(inner, all, inner.shownOfLast + Math.max(0, elided), ends.outer);
    return inner.shown;
  }

  /** Skips `skip` frames that would be shown, then writes `most`; stops before the one after them. */
  private pass(from: Position, all: boolean, skip: number, most: number, physical = Number.MAX_SAFE_INTEGER): Passed {
    let { index, callee } = from;
    let shown = 0;
    let shownOfLast = 0;
    for (; index < Math.min(this.points.length, physical); index++) {
      shownOfLast = 0;
      for (const frame of this.reader.code.frames(this.points[index]!)) {
        const called = callee;
        callee = frame;
        if (!all && !shows(frame, shown === 0, called)) continue;
        if (skip === 0 && most === 0) return { index, callee, shown, shownOfLast };
        shown++;
        shownOfLast++;
        if (skip > 0) skip--;
        else {
          most--;
          this.frame(frame, index);
        }
      }
    }
    return { index, callee, shown, shownOfLast: 0 };
  }

  private frame(frame: LogicalFrame, index: number): void {
    const point = this.points[index]!;
    this.literal += `${nameInText(frame)}(`;
    if (frame.inlined) this.literal += "...";
    else this.arguments(point, this.argumentPointers[index]!);
    this.literal += `)\n\t${frame.file}:${frame.line}`;
    if (!frame.inlined && point.pc > point.fn.entry) this.literal += ` +0x${(point.pc - point.fn.entry).toString(16)}`;
    this.literal += "\n";
  }

  private arguments(point: CodePoint, pointer: number): void {
    const { literals, offsets, sizes } = this.reader.code.arguments(point);
    for (let i = 0; i < offsets.length; i++) {
      this.literals.push(Buffer.from(this.literal + literals[i]!));
      this.literal = "";
      this.offsets.push(pointer + offsets[i]!);
      this.sizes.push(sizes[i]!);
    }
    this.literal += literals[offsets.length]!;
  }
}

interface Position {
  readonly index: number;
  readonly callee: LogicalFrame | undefined;
}

interface Passed extends Position {
  readonly shown: number;
  /** Of these, how many belong to the physical frame that the pass stopped in. */
  readonly shownOfLast: number;
}
