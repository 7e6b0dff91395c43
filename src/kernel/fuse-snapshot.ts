/** From what a file gives as its contents to the bytes that its readers see, bounded in size. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Bytes } from "../base/units.ts";
import type { FuseContents } from "./fuse-tree.ts";

/** For how long pieces are gathered before other requests get their turn. */
const sliceMilliseconds = 10;

const empty = Buffer.alloc(0);

/** The whole contents at once. What passes `limit` is cut, and its last line says so. */
export function takeSnapshot(contents: FuseContents, limit: Bytes): Buffer {
  const whole = wholeBytes(contents);
  if (whole) return whole.length <= limit ? whole : cut([whole], whole.length, limit);
  const pieces = new Pieces(limit);
  for (const piece of contents as Iterable<string | Uint8Array>) if (!pieces.add(piece)) break;
  return pieces.join();
}

/** As {@link takeSnapshot}, giving other work a turn between pieces; ends with the signal's reason when aborted. */
export async function gatherSnapshot(contents: FuseContents, limit: Bytes, signal: AbortSignal): Promise<Buffer> {
  if (wholeBytes(contents)) return takeSnapshot(contents, limit);
  const pieces = new Pieces(limit);
  let sliceEnd = performance.now() + sliceMilliseconds;
  for (const piece of contents as Iterable<string | Uint8Array>) {
    if (!pieces.add(piece)) break;
    if (performance.now() < sliceEnd) continue;
    await nextTurn();
    signal.throwIfAborted();
    sliceEnd = performance.now() + sliceMilliseconds;
  }
  return pieces.join();
}

class Pieces {
  private readonly limit: Bytes;
  private readonly buffers: Buffer[] = [];
  private length = 0;

  constructor(limit: Bytes) {
    this.limit = limit;
  }

  /** False when the limit has been passed and no more is wanted. */
  add(piece: string | Uint8Array): boolean {
    const bytes = toBuffer(piece);
    this.buffers.push(bytes);
    this.length += bytes.length;
    return this.length <= this.limit;
  }

  join(): Buffer {
    if (this.length > this.limit) return cut(this.buffers, this.length, this.limit);
    return Buffer.concat(this.buffers, this.length);
  }
}

function wholeBytes(contents: FuseContents): Buffer | undefined {
  if (typeof contents === "string") return contents === "" ? empty : Buffer.from(contents);
  return contents instanceof Uint8Array ? toBuffer(contents) : undefined;
}

function toBuffer(piece: string | Uint8Array): Buffer {
  if (typeof piece === "string") return Buffer.from(piece);
  return Buffer.isBuffer(piece) ? piece : Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
}

/** The first `limit` bytes up to a whole line, then a line that says that the rest is missing. */
function cut(buffers: readonly Buffer[], length: Bytes, limit: Bytes): Buffer {
  const note = Buffer.from(`\n... cut here: longer than ${limit} bytes, the most that one open file may hold\n`);
  const bytes = Buffer.concat(buffers, Math.min(length, limit + 1));
  const lineEnd = bytes.lastIndexOf(10, Math.max(0, limit - note.length));
  return Buffer.concat([bytes.subarray(0, Math.max(0, lineEnd)), note]);
}
