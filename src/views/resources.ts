/** Who waits for whom: channels, locks and semaphores with their state and everybody who waits there. */
import { escapeTerminal } from "../base/escape.ts";
import { tryRead } from "../base/memory-reader.ts";
import type { Address } from "../base/units.ts";
import { type Channel, readChannel } from "../go/channel.ts";
import type { GoRuntime } from "../go/runtime.ts";
import { readWaits, type WaitKind, type Waits } from "../go/waits.ts";
import type { LiveGoroutines } from "./live-goroutines.ts";

/** Something that goroutines wait for, as it was when it was asked for. */
export interface Resource {
  readonly kind: WaitKind;
  readonly address: Address;
  /** Rows of the source that wait for it. */
  readonly waiters: readonly number[];
  readonly channel: Channel | undefined;
  readonly lock: LockState | undefined;
}

/** What a lock's own words tell. The runtime does not record who holds a lock. */
export interface LockState {
  /** Mutex: locked; RWMutex: a writer holds it or waits for it. */
  readonly locked: boolean | undefined;
  /** Mutex: handed over in order, as somebody waited for longer than a millisecond. */
  readonly starving: boolean | undefined;
  /** RWMutex: readers that hold it or wait for it. */
  readonly readers: number | undefined;
  /** WaitGroup: what Add and Done have made of it. */
  readonly counter: number | undefined;
}

const noState: LockState = { locked: undefined, starving: undefined, readers: undefined, counter: undefined };

/** sync.rwmutexMaxReaders. */
const mostReaders = 1 << 30;

/** The resources of one snapshot. */
export class Resources {
  readonly waits: Waits;
  private readonly runtime: GoRuntime;
  private readonly source: LiveGoroutines;
  private readonly kinds = new Map<Address, WaitKind>();
  private readonly known = new Map<Address, Resource>();
  /** From rows of the table to rows of the source. */
  private readonly rowOf: ReadonlyMap<number, number>;
  private readonly names = new Map<number, { readonly key: string; readonly name: string }>();

  /** Reads what the goroutines of a snapshot wait for; costs a read of each waiting goroutine's record. */
  static read(source: LiveGoroutines): Resources {
    const { reader, table, rows } = source.snapshot;
    const rowOf = new Map(Array.from(rows, (tableRow, row) => [tableRow, row]));
    const reasonOf = (tableRow: number): string => {
      const reason = reader.statusWord(table, tableRow);
      return reason === "semacquire" ? (lockCall(source, rowOf.get(tableRow)!) ?? reason) : reason;
    };
    return new Resources(source, readWaits(reader.runtime, table, rows, reasonOf), rowOf);
  }

  private constructor(source: LiveGoroutines, waits: Waits, rowOf: ReadonlyMap<number, number>) {
    this.runtime = source.snapshot.reader.runtime;
    this.source = source;
    this.waits = waits;
    this.rowOf = rowOf;
    for (const list of waits.entries.values()) for (const { address, kind } of list) this.kinds.set(address, kind);
  }

  /** What a row waits for; several for a select, none where nothing is known. */
  of(row: number): readonly Address[] {
    const entries = this.waits.entries.get(this.source.tableRow(row)) ?? [];
    return entries.map((entry) => entry.address);
  }

  /** A group for a row: its resource; the first of a select, with how many more there are. */
  group(row: number): { readonly key: string; readonly name: string } | undefined {
    const known = this.names.get(row);
    if (known) return known;
    const addresses = this.of(row);
    const fixed = addresses.length === 0 ? withoutRecord(this.source.reason(row)) : undefined;
    if (addresses.length === 0 && !fixed) return undefined;
    const more = addresses.length > 1 ? `, or ${addresses.length - 1} more of a select` : "";
    const made = fixed ?? {
      key: `${addresses.map(hex).join(" ")}`,
      name: `${resourceText(this.at(addresses[0]!))}${more}`,
    };
    this.names.set(row, made);
    return made;
  }

  /** All that goroutines wait for, most waiters first. */
  all(): Resource[] {
    const all = [...this.waits.waiters.keys()].map((address) => this.at(address));
    return all.sort((a, b) => b.waiters.length - a.waiters.length || a.address - b.address);
  }

  at(address: Address): Resource {
    let resource = this.known.get(address);
    if (!resource) {
      const kind = this.kinds.get(address) ?? "semaphore";
      const waiters = (this.waits.waiters.get(address) ?? []).map((row) => this.rowOf.get(row)!);
      resource = {
        kind,
        address,
        waiters,
        channel: kind === "channel" ? readChannel(this.runtime, address) : undefined,
        lock: kind === "channel" ? undefined : lockState(this.runtime, kind, address),
      };
      this.known.set(address, resource);
    }
    return resource;
  }
}

/**
 * Which lock a goroutine is in where the runtime says only "semacquire" (locks before Go 1.20, WaitGroup before 1.25),
 * in the words of newer versions; undefined where its stack was not read or tells nothing.
 */
function lockCall(source: LiveGoroutines, row: number): string | undefined {
  for (const frame of source.frames(row)) {
    const call = /^(?:internal\/)?sync\.\(\*(Mutex|RWMutex|WaitGroup)\)\.(Lock|lockSlow|RLock|Wait)/.exec(
      frame.function,
    );
    if (call) return `sync.${call[1]}.${call[2] === "lockSlow" ? "Lock" : call[2]}`;
  }
  return undefined;
}

/** Waits that can never end by themselves, which the reason alone tells. */
function withoutRecord(reason: string): { key: string; name: string } | undefined {
  if (/nil chan/.test(reason)) return { key: "nil channel", name: "a nil channel" };
  return reason === "select (no cases)" ? { key: "no cases", name: "a select without cases" } : undefined;
}

function lockState(runtime: GoRuntime, kind: WaitKind, address: Address): LockState | undefined {
  const bytes = tryRead(runtime.memory, address, kind === "RWMutex" ? 24 : 8);
  if (!bytes) return undefined;
  switch (kind) {
    case "Mutex": {
      // mutexLocked, mutexStarving: internal/sync/mutex.go (sync/mutex.go before Go 1.24).
      const state = bytes.readInt32LE(0);
      return { ...noState, locked: (state & 1) !== 0, starving: (state & 4) !== 0 };
    }
    case "RWMutex": {
      const readers = bytes.readInt32LE(16);
      return { ...noState, locked: readers < 0, readers: readers < 0 ? readers + mostReaders : readers };
    }
    case "WaitGroup":
      return { ...noState, counter: bytes.readInt32LE(4) };
    default:
      return undefined;
  }
}

/** What it is and in which state, for people: `chan int at 0xc000012345, 8 bytes each, 0 of 3`. */
export function resourceText(resource: Resource): string {
  const { kind, address, channel, lock } = resource;
  const at = ` at ${hex(address)}`;
  if (channel) {
    const type = channel.elementType === undefined ? "chan" : `chan ${escapeTerminal(channel.elementType)}`;
    const room = channel.capacity === 0 ? "unbuffered" : `${channel.length} of ${channel.capacity}`;
    const marks = `${channel.closed ? ", closed" : ""}${channel.timer ? ", fed by a timer" : ""}`;
    return `${type}${at}, ${channel.elementSize} bytes each, ${room}${marks}`;
  }
  return `${kind}${at}${lock ? lockText(lock) : ""}`;
}

function lockText({ locked, starving, readers, counter }: LockState): string {
  const parts = [
    counter === undefined ? undefined : `counter ${counter}`,
    readers === undefined ? undefined : `${readers} readers`,
    locked === undefined ? undefined : readers === undefined ? (locked ? "locked" : "not locked") : undefined,
    readers !== undefined && locked ? "a writer holds it or waits" : undefined,
    starving ? "starving" : undefined,
  ].filter((part) => part !== undefined);
  return parts.length === 0 ? "" : `, ${parts.join(", ")}`;
}

export function hex(address: Address): string {
  return `0x${address.toString(16)}`;
}
