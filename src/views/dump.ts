/** Full stacks of all goroutines in every format, in pieces: nothing is cut, and memory does not grow with their number. */
import type { GoroutineReader, GoroutineVisitor } from "../go/goroutine-reader.ts";
import { GoroutineTable } from "../go/goroutine-table.ts";
import type { StackCopy } from "../go/stack-tree.ts";
import type { DumpSubject } from "./dump-records.ts";

export const dumpFormats = ["runtime", "grouped", "folded", "pprof", "json"] as const;
export type DumpFormat = (typeof dumpFormats)[number];

export interface DumpOptions {
  /** With the runtime's own goroutines, which tracebacks leave out. */
  readonly system?: boolean | undefined;
  /** Only the goroutine with this id. */
  readonly goroutine?: number | undefined;
  /** For progress: called now and then with the part that is done, 0 … 1. */
  readonly onProgress?: ((part: number) => void) | undefined;
}

/** What was dumped; filled while the dump is taken. */
export interface DumpTally {
  goroutines: number;
  /** Of these, on a CPU: without a stack. */
  running: number;
  /** Of these, changing each time they were read: without a stack. */
  inconsistent: number;
}

export function newTally(): DumpTally {
  return { goroutines: 0, running: 0, inconsistent: 0 };
}

/** The dump of a process in `format`. `subject` says for JSON and pprof what it is of. */
export async function* dumpChunks(
  reader: GoroutineReader,
  format: DumpFormat,
  options: DumpOptions,
  tally: DumpTally,
  subject: DumpSubject,
): AsyncGenerator<Uint8Array | string> {
  switch (format) {
    case "runtime": {
      const { tracebackChunks } = await import("./traceback-dump.ts");
      yield* tracebackChunks(reader, options, tally);
      return;
    }
    case "json": {
      const { recordChunks } = await import("./dump-records.ts");
      yield* recordChunks(reader, options, tally, subject);
      return;
    }
    case "grouped": {
      const { groupedText } = await import("./grouped-dump.ts");
      yield groupedText(reader, options, tally);
      return;
    }
    case "pprof": {
      const { goroutineProfile } = await import("./goroutine-profile.ts");
      const { pprofChunks } = await import("../profile/pprof.ts");
      yield* pprofChunks(goroutineProfile(reader, options, tally, subject));
      return;
    }
    case "folded": {
      const { goroutineProfile } = await import("./goroutine-profile.ts");
      const { foldedChunks } = await import("../profile/folded.ts");
      yield* foldedChunks(goroutineProfile(reader, options, tally, subject), 0);
    }
  }
}

/** What a format does with each goroutine. */
export interface DumpWriter {
  stack(table: GoroutineTable, row: number, node: number, copy: StackCopy): void;
  noStack(table: GoroutineTable, row: number, why: "running" | "inconsistent"): void;
}

const rowsAtOnce = 1024;

/** Reads all goroutines into one table over and over; stops after each part of them, so that what was made can go. */
export function* eachPart(
  reader: GoroutineReader,
  options: DumpOptions,
  tally: DumpTally,
  writer: DumpWriter,
): Generator<void> {
  const addresses = reader.addresses();
  const table = new GoroutineTable(reader.layout, Math.min(rowsAtOnce, addresses.length));
  const visitor = new DumpVisitor(reader, table, options, tally, writer);
  for (let first = 0; first < addresses.length; first += rowsAtOnce) {
    reader.read(table, addresses, first, Math.min(rowsAtOnce, addresses.length - first), 0, visitor);
    options.onProgress?.(Math.min(1, (first + rowsAtOnce) / addresses.length));
    yield;
  }
  reader.checkSameProgram(addresses);
}

class DumpVisitor implements GoroutineVisitor {
  private readonly reader: GoroutineReader;
  private readonly table: GoroutineTable;
  private readonly options: DumpOptions;
  private readonly tally: DumpTally;
  private readonly writer: DumpWriter;

  constructor(
    reader: GoroutineReader,
    table: GoroutineTable,
    options: DumpOptions,
    tally: DumpTally,
    writer: DumpWriter,
  ) {
    this.reader = reader;
    this.table = table;
    this.options = options;
    this.tally = tally;
    this.writer = writer;
  }

  wants(row: number): boolean {
    const { goroutine, system } = this.options;
    if (goroutine !== undefined) return this.table.id[row] === goroutine;
    return system === true || !this.reader.isSystem(this.table, row);
  }

  stack(row: number, node: number, copy: StackCopy): void {
    this.tally.goroutines++;
    this.writer.stack(this.table, row, node, copy);
  }

  noStack(row: number, why: "running" | "inconsistent"): void {
    this.tally.goroutines++;
    this.tally[why]++;
    this.writer.noStack(this.table, row, why);
  }
}
