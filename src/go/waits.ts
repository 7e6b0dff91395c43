/**
 * What blocked goroutines wait for, by the runtime's own records: g.waiting for channels and select (every version) and
 * for semaphores and condition variables (Go 1.26 and later); before, runtime.semtable for semaphores.
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
/** semTabSize, and the size of an entry: a cache line (cpu.CacheLinePadSize on amd64). */
const semaTableEntries = 251;
const cacheLine: Bytes = 64;
const batch = 8192;

interface SudogLayout {
  readonly g: number;
  readonly left: number;
  readonly right: number;
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
  const semaphores = new SemaphoreTable(runtime, sudog);
  let budget = mostEntries;
  for (let i = 0; i < blocked.length && budget > 0; i++) {
    const row = blocked[i]!;
    const reason = reasonOf(row);
    if (!mayWait(reason)) continue;
    const g = table.address[row]!;
    const list = heads[i] === 0 ? semaphores.of(g, reason) : walk(runtime, sudog, heads[i]!, g, reason);
    budget -= list.length;
    if (list.length > 0) entries.set(row, list);
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

/** runtime.semtable: a hash table of trees of addresses, with a list of waiters at each; read when first asked for. */
class SemaphoreTable {
  private readonly runtime: GoRuntime;
  private readonly sudog: SudogLayout;
  private byGoroutine: Map<Address, { readonly word: Address; readonly record: Address }> | undefined;

  constructor(runtime: GoRuntime, sudog: SudogLayout) {
    this.runtime = runtime;
    this.sudog = sudog;
  }

  of(g: Address, reason: string): WaitEntry[] {
    this.byGoroutine ??= this.read();
    const found = this.byGoroutine.get(g);
    return found ? [{ ...syncObject(found.word, reason), record: found.record }] : [];
  }

  private read(): Map<Address, { word: Address; record: Address }> {
    const found = new Map<Address, { word: Address; record: Address }>();
    const { runtime } = this;
    const start = runtime.globals.get("semtable");
    const treap = runtime.layout.field("semaRoot", "treap")?.offset;
    const table = start === undefined ? undefined : tryRead(runtime.memory, start, semaTableEntries * cacheLine);
    if (!table || treap === undefined) return found;
    for (let i = 0; i < semaTableEntries; i++) this.tree(u64(table, i * cacheLine + treap), found);
    return found;
  }

  private tree(root: Address, found: Map<Address, { word: Address; record: Address }>): void {
    const { sudog, runtime } = this;
    const seen = new Set<Address>();
    const todo = [root];
    while (todo.length > 0 && seen.size < mostEntries) {
      const at = todo.pop()!;
      if (at === 0 || seen.has(at)) continue;
      seen.add(at);
      const record = tryRead(runtime.memory, at, sudog.length);
      if (!record) continue;
      found.set(u64(record, sudog.g), { word: u64(record, sudog.element), record: at });
      todo.push(u64(record, sudog.left), u64(record, sudog.right), u64(record, sudog.waitLink));
    }
  }
}

function sudogLayout(layout: Layout): SudogLayout | undefined {
  const offset = (...paths: string[]): number | undefined =>
    paths.map((path) => layout.field("sudog", path)?.offset).find((found) => found !== undefined);
  const fields = {
    g: offset("g"),
    left: offset("prev"),
    right: offset("next"),
    // A pair of words since Go 1.26, of which vu is always right (runtime/maybe traceable).
    element: offset("elem.vu", "elem"),
    waitLink: offset("waitlink"),
    channel: offset("c.vu", "c"),
  };
  const { g, left, right, element, waitLink, channel } = fields;
  if (g === undefined || left === undefined || right === undefined) return undefined;
  if (element === undefined || waitLink === undefined || channel === undefined) return undefined;
  const length = Math.max(g, left, right, element, waitLink, channel) + 8;
  return { g, left, right, element, waitLink, channel, length };
}
