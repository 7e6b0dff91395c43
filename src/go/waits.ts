/**
 * What blocked goroutines wait for, by the runtime's own records: g.waiting leads to them for channels and select (every
 * version) and for semaphores and condition variables (Go 1.26 and later); before, the stack does for semaphores.
 *
 * Mirrors runtime/chan.go, runtime/select.go, runtime/sema.go and the layouts of package sync, which did not change in
 * what is used here since Go 1.9.
 */
import { u64 } from "../base/bytes.ts";
import { newRangeBuffer, tryRead } from "../base/memory-reader.ts";
import type { Address, Bytes } from "../base/units.ts";
import { type GoroutineTable, goroutineStatus } from "./goroutine-table.ts";
import type { Layout } from "./layout.ts";
import type { GoRuntime } from "./runtime.ts";

export type WaitKind = "channel" | "Mutex" | "RWMutex" | "WaitGroup" | "Cond" | "semaphore";

/** Something that goroutines wait for. */
export interface WaitTarget {
  readonly kind: WaitKind;
  /** Of the channel or the sync object; of the semaphore word where it is not known what it belongs to. */
  readonly address: Address;
}

/** A sudog entry: one goroutine waiting for one thing. */
export interface WaitEntry extends WaitTarget {
  /** Where the runtime keeps the record (runtime.sudog). */
  readonly record: Address;
}

/** A select may have 65536 cases (runtime/select.go). */
const mostCases = 1 << 16;
/** Entries of one snapshot; a hostile target's list is cut here. */
const mostEntries = 1 << 22;
const batch = 8192;

interface SudogLayout {
  readonly g: number;
  readonly element: number;
  readonly waitLink: number;
  readonly channel: number;
  readonly length: Bytes;
}

/** What each goroutine of a snapshot waits for. */
export class Waits {
  /** By row of the table; several for a select. */
  readonly entries: ReadonlyMap<number, readonly WaitEntry[]>;
  /** The same turned round: rows by address. */
  readonly waiters: ReadonlyMap<Address, readonly number[]>;

  constructor(entries: ReadonlyMap<number, readonly WaitEntry[]>) {
    this.entries = entries;
    const waiters = new Map<Address, number[]>();
    for (const [row, list] of entries) {
      for (const address of new Set(list.map((entry) => entry.address))) {
        const rows = waiters.get(address);
        if (rows) rows.push(row);
        else waiters.set(address, [row]);
      }
    }
    this.waiters = waiters;
  }
}

/** Whether this program's waits can be told: its version's layout must have the runtime's records. */
export function waitsSupported(runtime: GoRuntime): boolean {
  return sudogLayout(runtime.layout) !== undefined && runtime.layout.field("g", "waiting") !== undefined;
}

/**
 * Reads what the rows of a table wait for; `reasonOf` is the runtime's word for why a row waits. Rows of which nothing
 * is known are absent. The target runs on: a goroutine that was woken meanwhile may be told with what it waited for.
 */
export function readWaits(
  runtime: GoRuntime,
  table: GoroutineTable,
  rows: ArrayLike<number>,
  reasonOf: (row: number) => string,
): Waits {
  const sudog = sudogLayout(runtime.layout);
  const waiting = runtime.layout.field("g", "waiting")?.offset;
  const entries = new Map<number, readonly WaitEntry[]>();
  if (!sudog || waiting === undefined) return new Waits(entries);
  const blocked = Array.from(rows).filter((row) => table.state(row) === goroutineStatus.waiting);
  const heads = readWords(runtime, blocked, (row) => table.address[row]! + waiting);
  let budget = mostEntries;
  const unrecorded: number[] = [];
  for (let i = 0; i < blocked.length && budget > 0; i++) {
    const row = blocked[i]!;
    const reason = reasonOf(row);
    if (!mayWait(reason)) continue;
    if (heads[i] === 0) unrecorded.push(row);
    else {
      const list = walk(runtime, sudog, heads[i]!, table.address[row]!, reason);
      budget -= list.length;
      if (list.length > 0) entries.set(row, list);
    }
  }
  for (const [row, record] of new StackRecords(runtime, sudog).find(table, unrecorded)) {
    const target = syncObject(u64(record, sudog.element), reasonOf(row));
    entries.set(row, [{ ...target, record: u64(record, sudog.length) }]);
  }
  return new Waits(entries);
}

/** Wait reasons behind which there is a channel or a semaphore. */
function mayWait(reason: string): boolean {
  return /^(chan (send|receive)|select|sync\.|semacquire)/.test(reason) && !/nil chan|no cases/.test(reason);
}

function walk(runtime: GoRuntime, sudog: SudogLayout, head: Address, g: Address, reason: string): WaitEntry[] {
  const list: WaitEntry[] = [];
  for (let at = head; at !== 0 && list.length < mostCases; ) {
    const record = tryRead(runtime.memory, at, sudog.length);
    // A record that was given to another goroutine meanwhile.
    if (!record || u64(record, sudog.g) !== g) break;
    const channel = u64(record, sudog.channel);
    const element = u64(record, sudog.element);
    if (channel !== 0) list.push({ kind: "channel", address: channel, record: at });
    else if (element !== 0) list.push({ ...syncObject(element, reason), record: at });
    at = u64(record, sudog.waitLink);
  }
  return list;
}

/** From the word that is waited on to the object that holds it, by the layouts of package sync. */
function syncObject(word: Address, reason: string): WaitTarget {
  const base = reason.replace(/ \(durable\)$/, "");
  switch (base) {
    case "sync.Mutex.Lock": // Mutex{state int32; sema uint32}
      return { kind: "Mutex", address: word - 4 };
    case "sync.RWMutex.Lock": // RWMutex{w Mutex; writerSem, readerSem uint32 …}
      return { kind: "RWMutex", address: word - 8 };
    case "sync.RWMutex.RLock":
      return { kind: "RWMutex", address: word - 12 };
    case "sync.WaitGroup.Wait": // WaitGroup{state uint64; sema uint32} where the state is aligned
      return { kind: "WaitGroup", address: word % 8 === 0 ? word - 8 : word };
    case "sync.Cond.Wait": // Cond{noCopy; L Locker; notify notifyList …}
      return { kind: "Cond", address: word - 16 };
    default:
      return { kind: "semaphore", address: word };
  }
}

/** Words at addresses made from rows; 0 where one could not be read. */
function readWords(runtime: GoRuntime, rows: readonly number[], addressOf: (row: number) => Address): Float64Array {
  const result = new Float64Array(rows.length);
  const buffer = newRangeBuffer();
  const lengths = new Uint32Array(batch).fill(8);
  for (let first = 0; first < rows.length; first += batch) {
    const count = Math.min(batch, rows.length - first);
    const addresses = Float64Array.from(rows.slice(first, first + count), addressOf);
    runtime.memory.readRanges(addresses, lengths, count, buffer);
    for (let i = 0; i < count; i++) {
      const offset = buffer.offsets[i]!;
      if (offset >= 0) result[first + i] = u64(buffer.data, offset);
    }
  }
  return result;
}

/**
 * The records of goroutines that g.waiting does not lead to (semaphores before Go 1.26), from their stacks:
 * runtime.semacquire1 uses its sudog again after it was woken, and no register survives the wait, so its address lies
 * in that function's frame. A record that names the goroutine and a word cannot be mistaken for anything else.
 */
class StackRecords {
  private readonly runtime: GoRuntime;
  private readonly sudog: SudogLayout;
  private readonly buffer = newRangeBuffer();

  constructor(runtime: GoRuntime, sudog: SudogLayout) {
    this.runtime = runtime;
    this.sudog = sudog;
  }

  /** By row, where one was found. */
  find(table: GoroutineTable, rows: readonly number[]): Map<number, Buffer> {
    const found = new Map<number, Buffer>();
    for (let first = 0; first < rows.length; first += batch) {
      this.part(table, rows.slice(first, first + batch), found);
    }
    return found;
  }

  private part(table: GoroutineTable, rows: readonly number[], found: Map<number, Buffer>): void {
    const stacks = this.read(
      rows.map((row) => table.sp[row]!),
      rows.map((row) => Math.max(0, Math.min(searchedBytes, table.stackHigh[row]! - table.sp[row]!))),
    );
    const owners: number[] = [];
    const candidates: Address[] = [];
    stacks.forEach((stack, i) => {
      const row = rows[i]!;
      for (const word of pointersIn(stack)) {
        if (word >= table.stackLow[row]! && word < table.stackHigh[row]!) continue;
        owners.push(row);
        candidates.push(word);
      }
    });
    for (let first = 0; first < candidates.length; first += batch) {
      const some = candidates.slice(first, first + batch);
      this.read(some, new Array<number>(some.length).fill(this.sudog.length)).forEach((record, i) => {
        const row = owners[first + i]!;
        if (record && u64(record, this.sudog.g) === table.address[row] && u64(record, this.sudog.element) !== 0) {
          found.set(row, withAddress(record, some[i]!));
        }
      });
    }
  }

  /** Copies; undefined where a range could not be read. */
  private read(addresses: readonly Address[], lengths: readonly Bytes[]): (Buffer | undefined)[] {
    const { buffer, runtime } = this;
    runtime.memory.readRanges(Float64Array.from(addresses), Uint32Array.from(lengths), addresses.length, buffer);
    return lengths.map((length, i) => {
      const offset = buffer.offsets[i]!;
      return offset < 0 ? undefined : Buffer.from(buffer.data.subarray(offset, offset + length));
    });
  }
}

/** How far from a parked goroutine's stack pointer the frame of semacquire1 ends: gopark's and its own frame. */
const searchedBytes: Bytes = 512;

/** Aligned words that may be addresses in user space. */
function pointersIn(stack: Buffer | undefined): Set<Address> {
  const found = new Set<Address>();
  for (let at = 0; stack && at + 8 <= stack.length; at += 8) {
    const word = u64(stack, at);
    if (word > 0xffff && word < 2 ** 47 && word % 8 === 0) found.add(word);
  }
  return found;
}

/** The record with its own address behind it. */
function withAddress(record: Buffer, address: Address): Buffer {
  const tail = Buffer.alloc(8);
  tail.writeBigUInt64LE(BigInt(address));
  return Buffer.concat([record, tail]);
}

function sudogLayout(layout: Layout): SudogLayout | undefined {
  const offset = (...paths: string[]): number | undefined =>
    paths.map((path) => layout.field("sudog", path)?.offset).find((found) => found !== undefined);
  const fields = {
    g: offset("g"),
    // A pair of words since Go 1.26, of which vu is always right (runtime/maybe traceable).
    element: offset("elem.vu", "elem"),
    waitLink: offset("waitlink"),
    channel: offset("c.vu", "c"),
  };
  const { g, element, waitLink, channel } = fields;
  if (g === undefined || element === undefined || waitLink === undefined || channel === undefined) return undefined;
  return { g, element, waitLink, channel, length: Math.max(g, element, waitLink, channel) + 8 };
}
