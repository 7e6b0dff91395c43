/** Which goroutines are looked at: states, reasons, functions, labels, time waited. */
import { ProcscopeError } from "../base/errors.ts";
import type { Seconds } from "../base/units.ts";
import { type GoroutineSource, type GoroutineState, goroutineStates, type Place } from "./goroutine-source.ts";

export interface GoroutineFilter {
  /** Any of these states. */
  readonly states?: readonly GoroutineState[] | undefined;
  /** Part of the wait reason, letter case aside. */
  readonly reason?: string | undefined;
  /** A regular expression that a function of its stack, its start or its creator matches. */
  readonly function?: RegExp | undefined;
  /** Labels it must carry; an undefined value means any. */
  readonly labels?: readonly LabelCondition[] | undefined;
  /** Waited at least this long; goroutines whose wait is not known are left out. */
  readonly longerThan?: Seconds | undefined;
  /** True: only system goroutines; false: none of them; undefined: both. */
  readonly system?: boolean | undefined;
  /** What a person types in a search field: part of a function, file, reason, state or label, letter case aside. */
  readonly text?: string | undefined;
}

export interface LabelCondition {
  readonly key: string;
  readonly value: string | undefined;
}

/** Compiles a filter for one source: a function from row to whether it passes; undefined where everything passes. */
export function rowFilter(
  source: GoroutineSource,
  filter: GoroutineFilter | undefined,
): ((row: number) => boolean) | undefined {
  if (!filter) return undefined;
  const tests = [
    stateTest(source, filter.states),
    systemTest(source, filter.system),
    waitTest(source, filter.longerThan),
    reasonTest(source, filter.reason),
    labelTest(source, filter.labels),
    functionTest(source, filter.function),
    textTest(source, filter.text),
  ].filter((test) => test !== undefined);
  if (tests.length === 0) return undefined;
  return (row) => tests.every((test) => test(row));
}

type RowTest = ((row: number) => boolean) | undefined;

function stateTest(source: GoroutineSource, states: readonly GoroutineState[] | undefined): RowTest {
  return states?.length ? (row) => states.includes(source.state(row)) : undefined;
}

function systemTest(source: GoroutineSource, system: boolean | undefined): RowTest {
  return system === undefined ? undefined : (row) => source.system(row) === system;
}

function waitTest(source: GoroutineSource, seconds: Seconds | undefined): RowTest {
  return seconds === undefined ? undefined : (row) => source.waitSeconds(row) >= seconds;
}

function reasonTest(source: GoroutineSource, reason: string | undefined): RowTest {
  if (reason === undefined) return undefined;
  const wanted = reason.toLowerCase();
  return (row) => source.reason(row).toLowerCase().includes(wanted);
}

function labelTest(source: GoroutineSource, conditions: readonly LabelCondition[] | undefined): RowTest {
  if (!conditions?.length) return undefined;
  return (row) => {
    const labels = source.labels(row);
    if (!labels) return false;
    return conditions.every(({ key, value }) => (value === undefined ? labels.has(key) : labels.get(key) === value));
  };
}

function functionTest(source: GoroutineSource, pattern: RegExp | undefined): RowTest {
  if (!pattern) return undefined;
  const matches = perPlace((place) => pattern.test(place.function));
  return (row) =>
    matches(source.start(row)) ||
    matches(source.creator(row)) ||
    matches(source.current(row)) ||
    source.frames(row).some(matches);
}

function textTest(source: GoroutineSource, text: string | undefined): RowTest {
  if (!text) return undefined;
  const wanted = text.toLowerCase();
  const has = (where: string): boolean => where.toLowerCase().includes(wanted);
  const matches = perPlace((place) => has(place.function) || has(`${place.file}:${place.line}`));
  return (row) =>
    matches(source.start(row)) ||
    matches(source.current(row)) ||
    matches(source.creator(row)) ||
    has(source.reason(row)) ||
    has(source.state(row)) ||
    labelPairs(source.labels(row)).some(has) ||
    source.frames(row).some(matches);
}

function labelPairs(labels: ReadonlyMap<string, string> | undefined): string[] {
  return labels ? [...labels].map(([key, value]) => `${key}=${value}`) : [];
}

/** Asks once a place: many goroutines share one. */
function perPlace(test: (place: Place) => boolean): (place: Place) => boolean {
  const known = new Map<Place, boolean>();
  return (place) => {
    let answer = known.get(place);
    if (answer === undefined) {
      answer = test(place);
      known.set(place, answer);
    }
    return answer;
  };
}

/** Parses `--state running,waiting`. Throws USAGE. */
export function parseStates(text: string): readonly GoroutineState[] {
  return text.split(",").map((word) => {
    const state = goroutineStates.find((one) => one === word.trim());
    if (!state) {
      throw new ProcscopeError("USAGE", `no such goroutine state: ${word}`, {
        hint: `the states are ${goroutineStates.slice(0, -1).join(", ")}; several are joined with commas`,
      });
    }
    return state;
  });
}

/** Parses `--label key` or `--label key=value`. */
export function parseLabel(text: string): LabelCondition {
  const at = text.indexOf("=");
  return at < 0 ? { key: text, value: undefined } : { key: text.slice(0, at), value: text.slice(at + 1) };
}

/** Parses a regular expression for function names. Throws USAGE. */
export function parseFunctionPattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new ProcscopeError("USAGE", `not a regular expression: ${text}`, {
      hint: error instanceof Error ? error.message : undefined,
      cause: error,
    });
  }
}
