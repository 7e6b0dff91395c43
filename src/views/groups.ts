/** Goroutines that have something in common, with what can be said of them together. */
import { ProcscopeError } from "../base/errors.ts";
import { compareText } from "../base/sorted.ts";
import type { Seconds } from "../base/units.ts";
import { type GoroutineFilter, rowFilter } from "./filters.ts";
import {
  type GoroutineSource,
  type GoroutineState,
  goroutineStates,
  type Place,
  placeKey,
  unknownPlace,
} from "./goroutine-source.ts";

/**
 * What goroutines are grouped by. "resource" (what they wait for) needs to look into memory: its keys come through
 * {@link GroupOptions.resourceOf}.
 */
export type GroupBy =
  | { readonly kind: "start" | "current" | "creator" | "reason" | "state" | "stack" | "resource" }
  | { readonly kind: "label"; readonly key: string };

/** One group: its counts, and a row of it as an example. */
export interface GoroutineGroup {
  /** Equal for the same group of another snapshot. */
  readonly key: string;
  /** Where its goroutines are, for groups by place: the place itself, otherwise the most common start. */
  readonly place: Place;
  /** What to call a group that is no place: a reason, a state, a label's value, a resource. Empty for places. */
  readonly name: string;
  readonly count: number;
  /** Counts by state, in the order of goroutineStates. */
  readonly states: readonly number[];
  /** The most common wait reason, empty where none waits. */
  readonly reason: string;
  /** The longest known wait, -1 where none is known. */
  readonly longestWait: Seconds;
  /** The row that waits longest, or the first one. */
  readonly example: number;
  /** The rows; only where {@link GroupOptions.keepRows} asked for them. */
  readonly rows: readonly number[];
}

export interface GroupOptions {
  readonly filter?: GoroutineFilter | undefined;
  readonly keepRows?: boolean | undefined;
  /** For groups by resource: key and name of what the goroutine of a row waits for, undefined where nothing is known. */
  readonly resourceOf?: ((row: number) => { readonly key: string; readonly name: string } | undefined) | undefined;
}

/** Groups a source's goroutines, largest group first, then by key. */
export function groupGoroutines(source: GoroutineSource, by: GroupBy, options: GroupOptions = {}): GoroutineGroup[] {
  const passes = rowFilter(source, options.filter);
  const find = finder(source, by, options);
  const groups = new Map<string, MutableGroup>();
  // Places and reasons are few and shared: a map from the shared object to its group saves making a key for each row.
  const shared = new Map<unknown, MutableGroup>();
  for (let row = 0; row < source.count; row++) {
    if (passes && !passes(row)) continue;
    const token = find.token(row);
    let group = shared.get(token);
    if (!group) {
      const made = find.make(row);
      group = groups.get(made.key);
      if (!group) {
        group = new MutableGroup(made, row);
        groups.set(made.key, group);
      }
      shared.set(token, group);
    }
    group.add(source, row, options.keepRows === true);
  }
  const result = [...groups.values()];
  for (const group of result) group.finish();
  return result.sort((a, b) => b.count - a.count || compareText(a.key, b.key));
}

/** The rows of one group of {@link groupGoroutines}, by its key. */
export function rowsOfGroup(source: GoroutineSource, by: GroupBy, key: string, options: GroupOptions = {}): number[] {
  const passes = rowFilter(source, options.filter);
  const find = finder(source, by, options);
  const shared = new Map<unknown, boolean>();
  const rows: number[] = [];
  for (let row = 0; row < source.count; row++) {
    if (passes && !passes(row)) continue;
    const token = find.token(row);
    let belongs = shared.get(token);
    if (belongs === undefined) {
      belongs = find.make(row).key === key;
      shared.set(token, belongs);
    }
    if (belongs) rows.push(row);
  }
  return rows;
}

interface Identity {
  readonly key: string;
  readonly place: Place | undefined;
  readonly name: string;
}

interface Finder {
  /** Something whose identity tells the group. */
  token(row: number): unknown;
  make(row: number): Identity;
}

function finder(source: GoroutineSource, by: GroupBy, options: GroupOptions): Finder {
  const places = (of: (row: number) => Place): Finder => ({
    token: of,
    make: (row) => ({ key: placeKey(of(row)), place: of(row), name: "" }),
  });
  const names = (of: (row: number) => string): Finder => ({
    token: of,
    make: (row) => ({ key: of(row), place: undefined, name: of(row) }),
  });
  switch (by.kind) {
    case "start":
      return places((row) => source.start(row));
    case "current":
      return places((row) => source.current(row));
    case "creator":
      return creators(source);
    case "reason":
      return names((row) => source.reason(row) || source.state(row));
    case "state":
      return names((row) => source.state(row));
    case "stack":
      return names((row) => stackKey(source, row));
    case "label":
      return names((row) => source.labels(row)?.get(by.key) ?? `no label ${by.key}`);
    case "resource": {
      const of = (row: number) => options.resourceOf?.(row);
      return {
        token: (row) => of(row)?.key,
        make: (row) => {
          const found = of(row);
          return found
            ? { key: found.key, place: undefined, name: found.name }
            : { key: "", place: undefined, name: "nothing known to wait for" };
        },
      };
    }
  }
}

/**
 * By go statement. None started the first goroutine: texts show it without a creator, memory with the runtime's entry.
 * Grouped dumps tell no creator at all: there the start function must do.
 */
function creators(source: GoroutineSource): Finder {
  const none = (row: number): boolean => source.creator(row).function === "";
  return {
    token: (row) => (source.id(row) === 1 ? "first" : none(row) ? source.start(row) : source.creator(row)),
    make: (row) => {
      if (source.id(row) === 1) return { key: "", place: undefined, name: "the program's first goroutine" };
      const place = none(row) ? source.start(row) : source.creator(row);
      return { key: placeKey(place), place, name: "" };
    },
  };
}

function stackKey(source: GoroutineSource, row: number): string {
  return source
    .frames(row)
    .map((frame) => `${frame.function} (${frame.file}:${frame.line})`)
    .join(" ← ");
}

const stateIndex = new Map<GoroutineState, number>(goroutineStates.map((state, i) => [state, i]));

class MutableGroup implements GoroutineGroup {
  readonly key: string;
  readonly name: string;
  place: Place;
  count = 0;
  readonly states: number[] = goroutineStates.map(() => 0);
  reason = "";
  longestWait: Seconds = -1;
  example: number;
  readonly rows: number[] = [];
  private readonly reasons = new Map<string, number>();
  /** Of the starts, where the group is no place. */
  private readonly starts: Map<Place, number> | undefined;

  constructor(identity: Identity, row: number) {
    this.key = identity.key;
    this.name = identity.name;
    this.place = identity.place ?? unknownPlace;
    this.starts = identity.place ? undefined : new Map();
    this.example = row;
  }

  add(source: GoroutineSource, row: number, keepRow: boolean): void {
    const weight = source.weight(row);
    this.count += weight;
    this.states[stateIndex.get(source.state(row))!]! += weight;
    const reason = source.reason(row);
    if (reason !== "") this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + weight);
    if (this.starts) {
      const start = source.start(row);
      this.starts.set(start, (this.starts.get(start) ?? 0) + weight);
    }
    const wait = source.waitSeconds(row);
    if (wait > this.longestWait) {
      this.longestWait = wait;
      this.example = row;
    }
    if (keepRow) this.rows.push(row);
  }

  finish(): void {
    this.reason = mostCommon(this.reasons) ?? "";
    if (this.starts) this.place = mostCommon(this.starts) ?? unknownPlace;
  }
}

function mostCommon<T>(counts: ReadonlyMap<T, number>): T | undefined {
  let best: T | undefined;
  let most = 0;
  for (const [value, count] of counts) {
    if (count > most) {
      most = count;
      best = value;
    }
  }
  return best;
}

/** Counts of all rows by state, in the order of goroutineStates. */
export function countStates(source: GoroutineSource): number[] {
  const counts = goroutineStates.map(() => 0);
  for (let row = 0; row < source.count; row++) counts[stateIndex.get(source.state(row))!]! += source.weight(row);
  return counts;
}

/** The goroutines that rows stand for. */
export function totalGoroutines(source: GoroutineSource): number {
  let total = 0;
  for (let row = 0; row < source.count; row++) total += source.weight(row);
  return total;
}

const groupWords = ["function", "start", "current", "creator", "reason", "state", "stack", "resource"] as const;

/**
 * Parses `--group`. "function" means what `functionIs` says: the place that the view shows its goroutines at.
 * Throws USAGE.
 */
export function parseGroupBy(text: string, functionIs: "start" | "current" | "creator" = "start"): GroupBy {
  if (text === "function") return { kind: functionIs };
  if (text.startsWith("label:") && text.length > 6) return { kind: "label", key: text.slice(6) };
  const word = groupWords.find((one) => one === text);
  if (!word || word === "function") {
    throw new ProcscopeError("USAGE", `goroutines cannot be grouped by ${text}`, {
      hint: `use ${groupWords.join(", ")} or label:KEY`,
    });
  }
  return { kind: word };
}
