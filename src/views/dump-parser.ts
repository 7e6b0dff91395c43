/** Reads a saved goroutine dump of any kind, told by its content: runtime text, grouped text, NDJSON; gzipped or not. */
import { readFileSync, statSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import { readDumpJson } from "./dump-json.ts";
import { readDumpText } from "./dump-text.ts";
import { GoroutineSetBuilder } from "./goroutine-set.ts";
import type { GoroutineSource } from "./goroutine-source.ts";

/** A file that unpacks to more is refused: a few bytes of gzip can claim any amount of memory. */
const MAX_UNPACKED = 2 ** 31;

/** Reads the file; `-` is standard input. Throws UNREADABLE or MALFORMED. */
export function readDumpFile(path: string): GoroutineSource {
  let bytes: Buffer;
  let modified: number | undefined;
  try {
    bytes = readFileSync(path === "-" ? 0 : path);
    if (path !== "-") modified = statSync(path).mtimeMs;
  } catch (error) {
    throw new ProcscopeError("UNREADABLE", `cannot read ${path}: ${errnoOf(error) ?? error}`, { cause: error });
  }
  return parseDump(bytes, path, modified);
}

/**
 * Reads a dump's bytes. `name` is for errors; `modified` (milliseconds since the epoch) is taken for the time of the
 * dump where its content does not tell one. Throws MALFORMED where it holds no goroutine.
 */
export function parseDump(bytes: Buffer, name = "the input", modified?: number): GoroutineSource {
  const raw = bytes[0] === 0x1f && bytes[1] === 0x8b ? unpack(bytes, name) : bytes;
  const builder = new GoroutineSetBuilder();
  let takenAt: number | undefined;
  try {
    if (looksLikeJson(raw)) takenAt = readDumpJson(raw, builder);
    else readDumpText(raw, builder);
  } catch (error) {
    if (!(error instanceof ProcscopeError)) throw error;
    throw new ProcscopeError(error.code, `${name}: ${error.message}`, { hint: error.hint, cause: error });
  }
  if (builder.count === 0) {
    throw new ProcscopeError("MALFORMED", `${name}: no goroutine in it`, {
      hint: "it must be a dump of procscope, text of /debug/pprof/goroutine with debug=1 or 2, or a SIGQUIT traceback",
    });
  }
  return builder.finish(takenAt ?? modified);
}

/** Whether the head of a file has what a dump begins with: for commands that take other files too. */
export function looksLikeDump(bytes: Buffer): boolean {
  const head = bytes[0] === 0x1f && bytes[1] === 0x8b ? firstUnpacked(bytes) : bytes;
  if (!head) return false;
  const text = head.toString("utf8", 0, Math.min(head.length, 1 << 20));
  return (
    /goroutine \d+ .*\[.+\].*:/.test(text) ||
    /^goroutine profile: total \d+/m.test(text) ||
    /^\{"schema":"procscope\/dump\//.test(text)
  );
}

function looksLikeJson(bytes: Buffer): boolean {
  return /^\s*\{\s*"/.test(bytes.toString("latin1", 0, 64)) && !bytes.subarray(0, 4096).includes("\ngoroutine ");
}

function unpack(bytes: Buffer, name: string): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_UNPACKED });
  } catch (error) {
    throw new ProcscopeError("MALFORMED", `${name}: ${error instanceof Error ? error.message : String(error)}`, {
      hint: "the gzip data is cut off, damaged, or unpacks to more than 2 GiB",
      cause: error,
    });
  }
}

function firstUnpacked(bytes: Buffer): Buffer | undefined {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_UNPACKED });
  } catch {
    return undefined;
  }
}
