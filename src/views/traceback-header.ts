import type { Address, Nanoseconds } from "../base/units.ts";
import { debugSetting } from "../go/debug-settings.ts";
import type { GoroutineReader } from "../go/goroutine-reader.ts";
import { type GoroutineTable, goroutineStatus, scanBit } from "../go/goroutine-table.ts";
import { LabelReader, type Labels } from "../go/labels.ts";
import type { ChunkWriter } from "../profile/chunk-writer.ts";

const minute = 60e9;
const longestKept = 1 << 16;

/** What stands behind the id in a goroutine's header: ` [chan receive, 3 minutes, locked to thread]:` (goroutineheader). */
export class HeaderText {
  private readonly reader: GoroutineReader;
  private readonly now: Nanoseconds;
  private readonly labels: LabelReader;
  /** GODEBUG=tracebacklabels as the program has it; looked up for the first goroutine that has labels. */
  private showLabels: boolean | undefined;
  private readonly kept = new Map<number, Uint8Array>();

  constructor(reader: GoroutineReader, now: Nanoseconds) {
    this.reader = reader;
    this.now = now;
    this.labels = new LabelReader(reader.runtime);
    if (reader.rules.labels === "none") this.showLabels = false;
  }

  write(out: ChunkWriter, table: GoroutineTable, row: number): void {
    const labels = this.shownLabels(table.labels[row]!);
    const waited = table.waited(row, this.now);
    const minutes = waited < minute ? 0 : Math.floor(waited / minute);
    const locked = table.lockedThread[row] !== 0;
    if (labels || table.bubble[row] !== 0) {
      out.text(this.text(table, row, minutes, locked, labels));
      return;
    }
    // Almost all headers of a program are one of a few.
    const key = ((minutes * 2 + (locked ? 1 : 0)) * 256 + table.waitReason[row]!) * 65536 + table.status[row]!;
    let bytes = this.kept.get(key);
    if (bytes === undefined) {
      bytes = Buffer.from(this.text(table, row, minutes, locked, undefined));
      if (this.kept.size >= longestKept) this.kept.clear();
      this.kept.set(key, bytes);
    }
    out.bytes(bytes);
  }

  private shownLabels(pointer: Address): Labels | undefined {
    if (pointer === 0 || this.showLabels === false) return undefined;
    if (this.showLabels === undefined) {
      const setting = debugSetting(this.reader.runtime, "tracebacklabels");
      this.showLabels = setting === undefined ? this.reader.rules.labelsByDefault : setting === 1;
    }
    return this.showLabels ? this.labels.read(pointer) : undefined;
  }

  private text(
    table: GoroutineTable,
    row: number,
    minutes: number,
    locked: boolean,
    labels: Labels | undefined,
  ): string {
    const status = table.status[row]!;
    const word = this.reader.statusWord(table, row);
    let text = ` [${word}`;
    if (table.state(row) === goroutineStatus.leaked) text += " (leaked)";
    if ((status & scanBit) !== 0) text += " (scan)";
    if (minutes > 0) text += `, ${minutes} minutes`;
    if (locked) text += ", locked to thread";
    if (!labels) return `${text}]:\n`;
    if (this.reader.rules.labels === "inside") return `${text} labels:{${labelPairs(labels, quoted)}}]:\n`;
    return `${text}] {${labelPairs(labels, quotedIfNeeded)}}:\n`;
  }
}

function labelPairs(labels: Labels, quote: (text: string) => string): string {
  return [...labels].map(([key, value]) => `${quote(key)}: ${quote(value)}`).join(", ");
}

function quotedIfNeeded(text: string): string {
  return /^[a-zA-Z0-9./_]*$/.test(text) ? text : quoted(text);
}

const escapes: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", '"': '\\"' };

/** As the runtime quotes (runtime/print.go printquoted): printable ASCII as it is, all else escaped. */
function quoted(text: string): string {
  let result = '"';
  for (const char of text) {
    const code = char.codePointAt(0)!;
    if (escapes[char] !== undefined) result += escapes[char];
    else if (code >= 0x20 && code <= 0x7e) result += char;
    else if (code < 127) result += `\\x${hex(code, 2)}`;
    else if (code < 0x10000) result += `\\u${hex(code, 4)}`;
    else result += `\\U${hex(code, 8)}`;
  }
  return `${result}"`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}
