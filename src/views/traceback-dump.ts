import type { GoroutineReader } from "../go/goroutine-reader.ts";
import { monotonicNow } from "../go/snapshot.ts";
import { ChunkWriter } from "../profile/chunk-writer.ts";
import { type DumpOptions, type DumpTally, eachPart } from "./dump.ts";
import { TracebackWriter } from "./traceback.ts";

/** All goroutines as the process itself prints them for goroutine?debug=2, in pieces of about a megabyte. */
export function* tracebackChunks(
  reader: GoroutineReader,
  options: DumpOptions,
  tally: DumpTally,
): Generator<Uint8Array> {
  const out = new ChunkWriter();
  const writer = new TracebackWriter(reader, out, monotonicNow());
  const parts = eachPart(reader, options, tally, {
    stack: (table, row, node, copy) => writer.withStack(table, row, node, copy),
    noStack: (table, row) => writer.withoutStack(table, row),
  });
  for (const _ of parts) if (out.full) yield out.take();
  yield out.take();
}
