/** Reads any profile that can be read. What a file is is told by its content, never by its name. */
import { constants } from "node:buffer";
import { ProcscopeError } from "../base/errors.ts";
import { decodeFolded } from "./folded.ts";
import type { Profile } from "./model.ts";
import { decodePerfScript, looksLikePerfScript } from "./perf-script.ts";
import { decodePprof, inflateProfile } from "./pprof-reader.ts";
import { ProtobufReader } from "./protobuf.ts";
import { decodeV8Cpu } from "./v8-cpu.ts";
import { decodeV8Heap } from "./v8-heap.ts";

/** pprof's wire format, V8's CPU and heap profiles, `perf script` text, folded stacks. */
export type ProfileFormat = "pprof" | "cpuprofile" | "heapprofile" | "perf-script" | "folded";

const HEAD = 1 << 16;

/** What the content looks like, or undefined. Gzipped content is looked into. A guess: reading may still fail. */
export function profileFormat(bytes: Uint8Array): ProfileFormat | undefined {
  const gzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return formatOf(gzip ? inflateProfile(bytes) : bytes);
}

/** Whether `bytes` is a profile: what a command asks that takes other files too. */
export function looksLikeProfile(bytes: Uint8Array): boolean {
  try {
    return profileFormat(bytes) !== undefined;
  } catch {
    return false;
  }
}

function formatOf(bytes: Uint8Array): ProfileFormat | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, HEAD)).toString("utf8");
  if (/^\s*\{/.test(head)) {
    if (/"(nodes|samples|timeDeltas)"\s*:\s*\[/.test(head) && !/"head"\s*:/.test(head)) return "cpuprofile";
    return /"head"\s*:/.test(head) ? "heapprofile" : undefined;
  }
  if (looksLikePprof(bytes)) return "pprof";
  if (looksLikePerfScript(head)) return "perf-script";
  return looksFolded(head) ? "folded" : undefined;
}

/** The wire types of profile.proto's fields 1 … 15; field 13 may be packed or not. */
const wireTypes = [-1, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 2, 0, -1, 0, 0];
const FIELDS_LOOKED_AT = 64;

/** The first fields are profile.proto's, and the content is not text: its messages hold numbers below 9. */
function looksLikePprof(bytes: Uint8Array): boolean {
  if (!bytes.subarray(0, 256).some((byte) => byte < 9)) return false;
  try {
    const reader = new ProtobufReader(bytes);
    let fields = 0;
    for (; fields < FIELDS_LOOKED_AT && reader.next(); fields++) {
      const expected = wireTypes[reader.field];
      if (expected === undefined || (expected >= 0 && expected !== (reader.isSpan ? 2 : 0))) return false;
    }
    return fields > 0;
  } catch {
    return false;
  }
}

/** The first lines all end in a number after a space, and are text. */
function looksFolded(head: string): boolean {
  const lines = head
    .split("\n")
    .slice(0, 20)
    .filter((line) => line.trim() !== "" && !line.startsWith("#"));
  // The last line of what we looked at may be cut off.
  if (head.length >= HEAD - 4 && lines.length > 1) lines.pop();
  return (
    lines.length > 0 &&
    lines.every((line) => /^[^\x00\ufffd]* \d+(\.\d+)?\s*$/.test(line)) &&
    /[;]| \d+\s*$/m.test(head)
  );
}

/** Reads a profile of any format. `name` is the file's name for errors. Throws MALFORMED. */
export function decodeProfile(bytes: Uint8Array, name = "the input"): Profile {
  const raw = inflateProfile(bytes);
  const format = formatOf(raw);
  try {
    switch (format) {
      case "pprof":
        return decodePprof(raw);
      case "cpuprofile":
        return decodeV8Cpu(raw);
      case "heapprofile":
        return decodeHeap(raw);
      case "perf-script":
        return decodePerfScript(textOf(raw));
      case "folded":
        return decodeFolded(raw);
      case undefined:
        throw new ProcscopeError("MALFORMED", "no profile format that procscope reads", {
          hint: "it reads pprof (.pb.gz), V8's .cpuprofile and .heapprofile, folded stacks and the text of perf script",
        });
    }
  } catch (error) {
    if (!(error instanceof ProcscopeError)) throw error;
    throw new ProcscopeError(error.code, `${name}: ${error.message}`, { hint: error.hint, cause: error });
  }
}

function decodeHeap(raw: Uint8Array): Profile {
  let json: unknown;
  try {
    json = JSON.parse(textOf(raw));
  } catch (error) {
    throw new ProcscopeError("MALFORMED", `not valid JSON: ${error instanceof Error ? error.message : error}`);
  }
  return decodeV8Heap(json);
}

function textOf(raw: Uint8Array): string {
  if (raw.length > constants.MAX_STRING_LENGTH) {
    throw new ProcscopeError("MALFORMED", "larger than a text in Node may be; convert it to pprof with another tool");
  }
  return Buffer.from(raw.buffer, raw.byteOffset, raw.length).toString("utf8");
}
