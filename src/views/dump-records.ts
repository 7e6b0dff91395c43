/** One JSON object a goroutine, a line each, behind a line that says what they are of. */
import type { Nanoseconds, Pid } from "../base/units.ts";
import type { LogicalFrame } from "../go/code-table.ts";
import type { GoroutineReader } from "../go/goroutine-reader.ts";
import { type GoroutineTable, goroutineStatus } from "../go/goroutine-table.ts";
import { LabelReader } from "../go/labels.ts";
import { monotonicNow } from "../go/snapshot.ts";
import { sourceFrames } from "../go/source-frames.ts";
import { startFunction } from "../go/start-function.ts";
import { goThreads } from "../go/threads.ts";
import { creatingFunction } from "../go/wrapped-function.ts";
import { ChunkWriter } from "../profile/chunk-writer.ts";
import { type DumpOptions, type DumpTally, eachPart } from "./dump.ts";
import { stateOfStatus } from "./live-goroutines.ts";

/** What a dump is of. */
export interface DumpSubject {
  readonly pid: Pid;
  readonly goVersion: string;
  /** The program's file. */
  readonly program: string;
  /** The first line of NDJSON. */
  readonly header: Readonly<Record<string, unknown>>;
}

/** Characters of frame lists kept. */
const mostFrameText = 64 << 20;

export function* recordChunks(
  reader: GoroutineReader,
  options: DumpOptions,
  tally: DumpTally,
  subject: DumpSubject,
): Generator<Uint8Array> {
  const out = new ChunkWriter();
  out.text(`${JSON.stringify(subject.header)}\n`);
  const writer = new RecordWriter(reader, out, monotonicNow());
  const parts = eachPart(reader, options, tally, {
    stack: (table, row, node) => writer.record(table, row, node, true),
    noStack: (table, row, why) => writer.record(table, row, 0, why !== "inconsistent"),
  });
  for (const _ of parts) if (out.full) yield out.take();
  yield out.take();
}

class RecordWriter {
  private readonly reader: GoroutineReader;
  private readonly out: ChunkWriter;
  private readonly now: Nanoseconds;
  private readonly labels: LabelReader;
  private readonly threads: ReturnType<typeof goThreads>;
  private readonly starts = new Map<number, string>();
  private frameTexts = new Map<number, string>();
  private frameTree: object | undefined;
  private frameText = 0;

  constructor(reader: GoroutineReader, out: ChunkWriter, now: Nanoseconds) {
    this.reader = reader;
    this.out = out;
    this.now = now;
    this.labels = new LabelReader(reader.runtime);
    this.threads = goThreads(reader.runtime);
  }

  record(table: GoroutineTable, row: number, node: number, consistent: boolean): void {
    const { out } = this;
    const state = table.state(row);
    out.text(`{"id":${table.id[row]},"status":"${stateOfStatus.get(state) ?? "unknown"}"`);
    if (state === goroutineStatus.waiting && table.waitReason[row] !== 0)
      out.text(`,"waitReason":${JSON.stringify(this.reader.statusWord(table, row))}`);
    const waited = table.waited(row, this.now);
    if (waited >= 0) out.text(`,"waitingSeconds":${Math.round(waited / 1e6) / 1e3}`);
    out.text(`,"lockedToThread":${table.lockedThread[row] !== 0}`);
    const thread = this.threads.get(table.thread[row]! || table.lockedThread[row]!);
    if (thread && thread.tid !== 0) out.text(`,"thread":${thread.tid}`);
    if (this.reader.isSystem(table, row)) out.text(`,"system":true`);
    const labels = this.labels.read(table.labels[row]!);
    if (labels) out.text(`,"labels":${JSON.stringify(Object.fromEntries(labels))}`);
    out.text(`,"startFunction":${this.start(table, row, node)}`);
    out.text(`,"frames":${node > 1 ? this.frames(node) : "[]"}`);
    this.createdBy(table, row);
    out.text(`,"consistent":${consistent}}\n`);
  }

  private createdBy(table: GoroutineTable, row: number): void {
    const frame = creatingFunction(this.reader.runtime, this.reader.code, table.creationPc[row]!);
    if (!frame) return;
    const parent = table.parentId[row]! === 0 ? undefined : table.parentId[row];
    const { function: name, file, line } = frame;
    this.out.text(`,"createdBy":${JSON.stringify({ function: name, file, line, goroutineId: parent })}`);
  }

  private start(table: GoroutineTable, row: number, node: number): string {
    const pc = table.startPc[row]!;
    let text = this.starts.get(pc);
    if (text === undefined) {
      const { code, tree, runtime } = this.reader;
      const frame = startFunction(runtime, code, pc, node > 1 ? sourceFrames(tree, code, node) : []);
      text = JSON.stringify(frame?.function ?? "");
      this.starts.set(pc, text);
    }
    return text;
  }

  private frames(node: number): string {
    if (this.frameTree !== this.reader.tree || this.frameText > mostFrameText) {
      this.frameTree = this.reader.tree;
      this.frameTexts = new Map();
      this.frameText = 0;
    }
    let text = this.frameTexts.get(node);
    if (text === undefined) {
      text = JSON.stringify(sourceFrames(this.reader.tree, this.reader.code, node).map(jsonFrame));
      this.frameText += text.length;
      this.frameTexts.set(node, text);
    }
    return text;
  }
}

function jsonFrame({ function: name, file, line, inlined }: LogicalFrame) {
  return { function: name, file, line, inlined };
}
