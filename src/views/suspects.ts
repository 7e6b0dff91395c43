/**
 * Goroutines that look as if they will wait forever, each with the reason why it is suspected. Never certain: what refers
 * to a lock or channel in a register, in memory that could not be read, or through a word that only looks like a
 * pointer, is not told apart.
 */
import { u64 } from "../base/bytes.ts";
import { tryRead } from "../base/memory-reader.ts";
import type { Address, Pid } from "../base/units.ts";
import { goroutineStatus } from "../go/goroutine-table.ts";
import { HeapSpans } from "../go/heap-spans.ts";
import { mostPlaces, type PointerScan, scanPointers } from "../go/pointer-scan.ts";
import type { LiveGoroutines } from "./live-goroutines.ts";
import { hex, type Resources, resourceText } from "./resources.ts";

export interface Suspect {
  /** A row of the source. */
  readonly row: number;
  readonly kind: "nothing can wake it" | "cycle" | "unreachable channel";
  /** A sentence. */
  readonly reason: string;
}

export interface Suspicion {
  readonly suspects: readonly Suspect[];
  /** Whether all memory could be looked at for channels that nothing refers to. */
  readonly complete: boolean;
}

/** Bytes of the runtime's record of a waiter that are looked at; runtime.sudog is smaller than this in every version. */
const recordBytes = 128;
/** A closure holds its function first; those of go statements hold few values behind it. */
const closureWords = 8;
/** Steps from goroutine to goroutine in all: thousands that wait for one lock are not followed from each of them. */
const mostSteps = 1 << 20;
/** Goroutines followed for a cycle. */
const longestCycle = 64;

/** Looks for suspects among the waiting goroutines of a snapshot. Reads all of the target's writable memory once. */
export function findSuspects(pid: Pid, source: LiveGoroutines, resources: Resources): Suspicion {
  const wanted = new Set(resources.waits.waiters.keys());
  const { runtime } = source.snapshot.reader;
  const scan: PointerScan =
    wanted.size > 0 ? scanPointers(pid, runtime.memory, wanted) : { places: new Map(), complete: true, bytes: 0 };
  const stacks = new Stacks(source);
  const spans = HeapSpans.read(runtime);
  const suspects = [
    ...withoutEnd(source, resources),
    ...cycles(source, resources, scan, stacks),
    ...(scan.complete && spans ? unreachable(source, resources, scan, { stacks, spans }) : []),
  ];
  return { suspects, complete: scan.complete && spans !== undefined };
}

function withoutEnd(source: LiveGoroutines, resources: Resources): Suspect[] {
  const found: Suspect[] = [];
  for (let row = 0; row < source.count; row++) {
    if (source.state(row) !== "waiting" || resources.of(row).length > 0) continue;
    const name = resources.group(row)?.name;
    if (name) found.push({ row, kind: "nothing can wake it", reason: `waits for ${name}: nothing can ever wake it` });
  }
  return found;
}

/** Which goroutine's stack an address lies in, and whether in the part that is in use. */
class Stacks {
  private readonly source: LiveGoroutines;
  /** Rows of the table by the low end of their stack. */
  private readonly order: readonly number[];

  constructor(source: LiveGoroutines) {
    this.source = source;
    const { table } = source.snapshot;
    const rows = Array.from({ length: table.capacity }, (_, row) => row).filter((row) => table.stackHigh[row]! > 0);
    this.order = rows.sort((a, b) => table.stackLow[a]! - table.stackLow[b]!);
  }

  /** The row of the table, and false where nothing there is in use (beyond the stack pointer, or a dead goroutine's). */
  at(address: Address): { row: number; used: boolean } | undefined {
    const { table } = this.source.snapshot;
    let low = 0;
    let high = this.order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (table.stackLow[this.order[middle]!]! <= address) low = middle + 1;
      else high = middle;
    }
    const row = this.order[low - 1];
    if (row === undefined || address >= table.stackHigh[row]!) return undefined;
    if (table.gone(row)) return { row, used: false };
    const sp = table.syscallSp[row] !== 0 ? table.syscallSp[row]! : table.sp[row]!;
    // What is saved of a running goroutine is where it was scheduled last: all of its stack may be in use.
    const running = table.state(row) === goroutineStatus.running;
    return { row, used: running || address >= sp };
  }
}

/** Goroutines that wait for locks which each other's stacks refer to. */
function cycles(source: LiveGoroutines, resources: Resources, scan: PointerScan, stacks: Stacks): Suspect[] {
  const rowOf = new Map(Array.from(source.snapshot.rows, (tableRow, row) => [tableRow, row]));
  const lockOf = new Map<number, Address>();
  for (let row = 0; row < source.count; row++) {
    const [address] = resources.of(row);
    if (address !== undefined && resources.at(address).kind !== "channel") lockOf.set(row, address);
  }
  /** Goroutines that wait for another lock, and whose stacks refer to this one. */
  const next = (lock: Address): number[] => {
    const rows = (scan.places.get(lock) ?? []).flatMap((place) => {
      const stack = stacks.at(place);
      const other = stack?.used ? rowOf.get(stack.row) : undefined;
      return other !== undefined && lockOf.has(other) && lockOf.get(other) !== lock ? [other] : [];
    });
    return [...new Set(rows)];
  };
  const known = new Map<Address, number[]>();
  let budget = mostSteps;
  const nextOf = (row: number): number[] => {
    const lock = lockOf.get(row)!;
    const rows = known.get(lock) ?? next(lock);
    known.set(lock, rows);
    budget -= rows.length + 1;
    return budget > 0 ? rows : [];
  };
  return [...lockOf.keys()].flatMap((row) => {
    const path = cycleFrom(row, nextOf);
    return path ? [{ row, kind: "cycle" as const, reason: cycleText(path, source, lockOf) }] : [];
  });
}

/** The shortest way from a row back to itself, or undefined. */
function cycleFrom(row: number, nextOf: (row: number) => number[]): number[] | undefined {
  const from = new Map<number, number>();
  let border = [row];
  for (let depth = 0; depth < longestCycle && border.length > 0; depth++) {
    const found: number[] = [];
    for (const at of border) {
      for (const other of nextOf(at)) {
        if (other === row) return wayTo(at, row, from);
        if (from.has(other)) continue;
        from.set(other, at);
        found.push(other);
      }
    }
    border = found;
  }
  return undefined;
}

function wayTo(last: number, first: number, from: ReadonlyMap<number, number>): number[] {
  const path = [last];
  while (path[0] !== first) path.unshift(from.get(path[0]!)!);
  return path;
}

function cycleText(path: readonly number[], source: LiveGoroutines, lockOf: ReadonlyMap<number, Address>): string {
  const parts = path.map((row, i) => {
    const other = path[(i + 1) % path.length]!;
    const who = i === 0 ? "waits" : `goroutine ${source.id(row)} waits`;
    return `${who} for the lock at ${hex(lockOf.get(row)!)}, which the stack of goroutine ${source.id(other)} refers to`;
  });
  return `may be a deadlock: ${parts.join("; ")}`;
}

interface Memory {
  readonly stacks: Stacks;
  readonly spans: HeapSpans;
}

/** Goroutines all of whose channels nothing else refers to. */
function unreachable(source: LiveGoroutines, resources: Resources, scan: PointerScan, memory: Memory): Suspect[] {
  const lonely = new Map<Address, boolean>();
  const isLonely = (address: Address): boolean => {
    let answer = lonely.get(address);
    if (answer === undefined) {
      answer = nothingElseRefersTo(address, source, resources, scan, memory);
      lonely.set(address, answer);
    }
    return answer;
  };
  const found: Suspect[] = [];
  for (let row = 0; row < source.count; row++) {
    const addresses = resources.of(row);
    const channels = addresses.length > 0 && addresses.every((address) => resources.at(address).kind === "channel");
    if (!channels || source.system(row) || !addresses.every(isLonely)) continue;
    const what = resourceText(resources.at(addresses[0]!));
    const reason = `nothing else in memory refers to the ${addresses.length > 1 ? "channels" : "channel"} it waits for: ${what}`;
    found.push({ row, kind: "unreachable channel", reason });
  }
  return found;
}

/**
 * Whether only those refer to a channel who cannot use it: its waiters' own stacks (of goroutines that wait for nothing
 * else), the runtime's records of them, closures with which they were started, and parts of stacks that are not in use.
 */
function nothingElseRefersTo(
  channel: Address,
  source: LiveGoroutines,
  resources: Resources,
  scan: PointerScan,
  memory: Memory,
): boolean {
  const { channel: facts } = resources.at(channel);
  const places = scan.places.get(channel) ?? [];
  if (!facts || facts.timer || facts.closed || places.length >= mostPlaces) return false;
  const { waits } = resources;
  const own = (waits.waiters.get(channel) ?? []).filter((row) => waits.entries.get(row)!.length === 1);
  const records = own.flatMap((row) => waits.entries.get(row)!.map((entry) => entry.record));
  return places.every((place) => {
    const stack = memory.stacks.at(place);
    if (stack) return !stack.used || own.includes(stack.row);
    // Freed objects, numbers, old stacks and the allocator's own tables refer to nothing.
    if (!memory.spans.holdsPointers(place) && !isGlobal(place, source)) return true;
    return records.some((record) => place >= record && place < record + recordBytes) || inClosure(place, own, source);
  });
}

/** Whether a word lies in a module's variables that may hold pointers. */
function isGlobal(place: Address, source: LiveGoroutines): boolean {
  return source.snapshot.reader.runtime.modules.some(
    ({ data, edata, bss, ebss }) => (place >= data && place < edata) || (place >= bss && place < ebss),
  );
}

/** Whether a word belongs to the closure that a go statement made for one of these goroutines. */
function inClosure(place: Address, rows: readonly number[], source: LiveGoroutines): boolean {
  const { table, reader } = source.snapshot;
  const before = tryRead(reader.runtime.memory, place - 8 * closureWords, 8 * closureWords);
  if (!before) return false;
  const starts = new Set(rows.map((row) => table.startPc[row]!));
  for (let at = 0; at < before.length; at += 8) if (starts.has(u64(before, at))) return true;
  return false;
}
