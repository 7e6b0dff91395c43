/** The list of goroutines, one line each, in the form of gospy's summary. */
import type { Seconds } from "../base/units.ts";
import { type GoroutineFilter, rowFilter } from "./filters.ts";
import type { GoroutineSource, GoroutineState, Place } from "./goroutine-source.ts";

/** Which function stands for a goroutine: the one with its go statement, the started one, or the innermost frame. */
export const placeKinds = ["caller", "start", "current"] as const;
export type PlaceKind = (typeof placeKinds)[number];

export interface StateCounts {
  readonly total: number;
  readonly idle: number;
  /** On a CPU or waiting for one. */
  readonly running: number;
  readonly syscall: number;
  readonly waiting: number;
}

export interface SummaryRow {
  readonly id: number;
  readonly state: GoroutineState;
  readonly reason: string;
  readonly waitSeconds: Seconds;
  readonly place: Place;
  readonly labels: ReadonlyMap<string, string> | undefined;
  readonly lockedToThread: boolean;
  /** The row of the source. */
  readonly row: number;
}

/** A source that can tell the innermost frame of all, the runtime's own included. */
interface Innermost {
  innermost(row: number): Place;
}

/** Counts of the goroutines that pass a filter. */
export function stateCounts(source: GoroutineSource, filter?: GoroutineFilter): StateCounts {
  const passes = rowFilter(source, filter);
  const counts = { total: 0, idle: 0, running: 0, syscall: 0, waiting: 0 };
  for (let row = 0; row < source.count; row++) {
    if (passes && !passes(row)) continue;
    const state = source.state(row);
    const weight = source.weight(row);
    counts.total += weight;
    if (state === "idle" || state === "syscall") counts[state] += weight;
    else if (state === "running" || state === "runnable") counts.running += weight;
    else counts.waiting += weight;
  }
  return counts;
}

/** The goroutines that pass a filter, by id. */
export function* summaryRows(
  source: GoroutineSource & Partial<Innermost>,
  kind: PlaceKind,
  filter?: GoroutineFilter,
): Generator<SummaryRow> {
  const passes = rowFilter(source, filter);
  const rows: number[] = [];
  for (let row = 0; row < source.count; row++) if (!passes || passes(row)) rows.push(row);
  rows.sort((a, b) => source.id(a) - source.id(b));
  for (const row of rows) {
    yield {
      id: source.id(row),
      state: source.state(row),
      reason: source.reason(row),
      waitSeconds: source.waitSeconds(row),
      place: placeOf(source, kind, row),
      labels: source.labels(row),
      lockedToThread: source.lockedToThread(row),
      row,
    };
  }
}

function placeOf(source: GoroutineSource & Partial<Innermost>, kind: PlaceKind, row: number): Place {
  if (kind === "caller") return source.creator(row);
  if (kind === "start") return source.start(row);
  return source.innermost?.(row) ?? source.current(row);
}

/** `waiting for chan receive`, `syscall`, `running` … */
export function stateText(state: GoroutineState, reason: string): string {
  return state === "waiting" && reason !== "" ? `waiting for ${reason}` : state;
}

/** `name (file:line)`: the name after its last dot unless `full`, as gospy has it. */
export function placeWords(place: Place, full: boolean): string {
  if (place.function === "" && place.file === "") return "unknown (?:0)";
  return `${full ? place.function : lastName(place.function)} (${place.file}:${place.line})`;
}

/** What stands after a name's last dot: "main.(*T).Run" → "Run", "os/signal.init.0" → "0", "main.f[...]" → "f[...]". */
export function lastName(name: string): string {
  // Type arguments in brackets have dots of their own.
  const plain = name.replace(/\[.*?\]/gs, (brackets) => "x".repeat(brackets.length));
  return name.slice(plain.lastIndexOf(".") + 1);
}
