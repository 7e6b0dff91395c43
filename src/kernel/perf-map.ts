/**
 * The map that just-in-time compilers write for profilers, /tmp/perf-PID.map (tools/perf/Documentation/jit-interface.txt
 * of Linux): lines of "START SIZE name" in hexadecimal. Node writes one with --perf-basic-prof, Python 3.12 with -X perf,
 * Java with perf-map-agent.
 *
 * The file is the target's: it is found through the target's own root and by its pid in its own pid namespace, must be a
 * regular file of the target's user, and is read up to a bound.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { countUpTo } from "../base/sorted.ts";
import type { Address, Bytes, Pid } from "../base/units.ts";
import { readProcStatus } from "./proc-status.ts";

/** A map of a big Java program has some 10 MB; a process that wrote more than this is read to here. */
const mostBytes: Bytes = 128 << 20;
const longestName = 1024;

export class PerfMap {
  /** Why there are no names, or fewer than the file has; empty where all is well. */
  readonly note: string;
  readonly #text: Buffer;
  /** Sorted by start, without overlaps: the last line for an address has won. */
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  readonly #names: Uint32Array;

  private constructor(text: Buffer, entries: Entries, note: string) {
    this.#text = text;
    this.#starts = entries.starts;
    this.#ends = entries.ends;
    this.#names = entries.names;
    this.note = note;
  }

  /** Reads the map of a process; undefined where it has none. Throws NO_PROCESS where the process is gone. */
  static read(pid: Pid): PerfMap | undefined {
    const status = readProcStatus(pid);
    const inner = status.namespacePids.at(-1) ?? pid;
    let fd: number;
    try {
      // Not through a symbolic link, which would be followed in our own root, and not waiting for a pipe's writer.
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      fd = openSync(`/proc/${pid}/root/tmp/perf-${inner}.map`, flags);
    } catch {
      return undefined;
    }
    try {
      const info = fstatSync(fd);
      if (!info.isFile()) return undefined;
      if (info.uid !== (status.uids[1] ?? -1))
        return PerfMap.parse(Buffer.alloc(0), "the perf map is not owned by the process's user and was not used");
      const text = readUpTo(fd, Math.min(info.size, mostBytes));
      return PerfMap.parse(
        text,
        info.size > mostBytes ? "the perf map is larger than 128 MiB and was read in part" : "",
      );
    } finally {
      closeSync(fd);
    }
  }

  /** Parses the text of a map; lines that are none are skipped. Keeps the buffer. */
  static parse(text: Buffer, note = ""): PerfMap {
    return new PerfMap(text, withoutOverlaps(parseLines(text)), note);
  }

  /** How many ranges have a name. */
  get count(): number {
    return this.#starts.length;
  }

  /** The name of the code at an address, or undefined. */
  lookup(address: Address): string | undefined {
    const behind = countUpTo(this.#starts, address);
    if (behind === 0 || address >= this.#ends[behind - 1]!) return undefined;
    const at = this.#names[behind - 1]!;
    const end = this.#text.indexOf(10, at);
    return this.#text.toString("utf8", at, Math.min(end < 0 ? this.#text.length : end, at + longestName));
  }
}

interface Entries {
  starts: Float64Array;
  ends: Float64Array;
  names: Uint32Array;
}

function readUpTo(fd: number, length: Bytes): Buffer {
  const text = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const read = readSync(fd, text, filled, length - filled, filled);
    if (read === 0) break;
    filled += read;
  }
  return text.subarray(0, filled);
}

function parseLines(text: Buffer): Entries {
  const starts: number[] = [];
  const ends: number[] = [];
  const names: number[] = [];
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf(10, at);
    const end = newline < 0 ? text.length : newline;
    const afterStart = hexEnd(text, at, end);
    const afterSize = hexEnd(text, afterStart + 1, end);
    const valid = afterStart > at && text[afterStart] === 32 && afterSize > afterStart + 1 && text[afterSize] === 32;
    if (valid && afterSize + 1 < end) {
      const start = Number.parseInt(text.toString("latin1", at, afterStart), 16);
      const size = Number.parseInt(text.toString("latin1", afterStart + 1, afterSize), 16);
      if (size > 0 && start + size <= Number.MAX_SAFE_INTEGER) {
        starts.push(start);
        ends.push(start + size);
        names.push(afterSize + 1);
      }
    }
    at = end + 1;
  }
  return { starts: Float64Array.from(starts), ends: Float64Array.from(ends), names: Uint32Array.from(names) };
}

/** The first place from `at` that is no hexadecimal digit (an optional "0x" is passed). */
function hexEnd(text: Buffer, at: number, end: number): number {
  let place = text[at] === 48 && text[at + 1] === 120 ? at + 2 : at;
  while (place < end) {
    const c = text[place]!;
    const isHex = (c >= 48 && c <= 57) || ((c | 32) >= 97 && (c | 32) <= 102);
    if (!isHex) break;
    place++;
  }
  return place;
}

/**
 * Code moves and is freed, and the file only grows: of ranges that overlap, the one written last holds. One pass over
 * all boundaries in order of address, with those that cover the place in a heap by their place in the file.
 */
function withoutOverlaps({ starts, ends, names }: Entries): Entries {
  const out = { starts: [] as number[], ends: [] as number[], names: [] as number[] };
  const order = new Uint32Array(starts.length).map((_, i) => i).sort((a, b) => starts[a]! - starts[b]!);
  const points = Float64Array.from([...starts, ...ends]).sort();
  const covering = new LatestFirst();
  let next = 0;
  for (let i = 0; i + 1 < points.length; i++) {
    const from = points[i]!;
    const to = points[i + 1]!;
    if (from === to) continue;
    while (next < order.length && starts[order[next]!]! === from) covering.push(order[next++]!);
    while (covering.top !== undefined && ends[covering.top]! <= from) covering.pop();
    if (covering.top === undefined) continue;
    const name = names[covering.top]!;
    if (out.names.at(-1) === name && out.ends.at(-1) === from) {
      out.ends[out.ends.length - 1] = to;
      continue;
    }
    out.starts.push(from);
    out.ends.push(to);
    out.names.push(name);
  }
  return {
    starts: Float64Array.from(out.starts),
    ends: Float64Array.from(out.ends),
    names: Uint32Array.from(out.names),
  };
}

/** A binary heap of line numbers, the largest on top. */
class LatestFirst {
  readonly #items: number[] = [];

  get top(): number | undefined {
    return this.#items[0];
  }

  push(item: number): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent]! >= item) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): void {
    const items = this.#items;
    const last = items.pop();
    if (last === undefined || items.length === 0) return;
    let at = 0;
    for (let child = 1; child < items.length; child = 2 * at + 1) {
      if (child + 1 < items.length && items[child + 1]! > items[child]!) child++;
      if (last >= items[child]!) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
  }
}
