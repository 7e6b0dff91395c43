/** Arrays of strings in the runtime: the words for states and wait reasons, in the target's own version of them. */
import { u64 } from "../base/bytes.ts";
import { type MemoryReader, tryRead } from "../base/memory-reader.ts";
import type { Address } from "../base/units.ts";
import type { GoRuntime } from "./runtime.ts";

/** runtime.gStatusStrings as it was in all versions so far; entries are added at its end. */
const knownStatuses = [
  "idle",
  "runnable",
  "running",
  "syscall",
  "waiting",
  "",
  "dead",
  "",
  "copystack",
  "preempted",
  "leaked",
  "waiting for cgo callback",
];

const mostStrings = 128;
const longestString = 80;

/** The words by status; empty where a status has none. */
export function statusWords(runtime: GoRuntime): readonly string[] {
  const found = stringsAt(runtime.memory, runtime.globals.get("gStatusStrings"), knownStatuses.length);
  return knownStatuses.map((word, status) => found[status] || word);
}

/** The words by wait reason; empty where they could not be read. */
export function waitReasonWords(runtime: GoRuntime): readonly string[] {
  const words = stringsAt(runtime.memory, runtime.globals.get("waitReasonStrings"), mostStrings);
  // The array's length is not known: it ends where strings end. Reason 0 has no word.
  const end = words.findIndex((word, index) => index > 0 && word === "");
  return end < 0 ? words : words.slice(0, end);
}

/** Up to `count` strings of an array of string headers, up to the first that is none. */
function stringsAt(memory: MemoryReader, address: Address | undefined, count: number): string[] {
  const words: string[] = [];
  if (address === undefined) return words;
  for (let i = 0; i < count; i++) {
    const header = tryRead(memory, address + 16 * i, 16);
    const length = header ? u64(header, 8) : -1;
    if (!header || length < 0 || length > longestString) break;
    const bytes = length === 0 ? Buffer.alloc(0) : tryRead(memory, u64(header, 0), length);
    if (!bytes || !/^[\x20-\x7e]*$/.test(bytes.toString("latin1"))) break;
    words.push(bytes.toString("latin1"));
  }
  return words;
}
