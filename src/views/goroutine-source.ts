/**
 * What the views need to know of goroutines, wherever they come from: a live process, a core file, a saved dump. One
 * row a goroutine, asked by index, so that a million of them need no million objects.
 */
import type { Seconds } from "../base/units.ts";

/**
 * A place in the source. A source of goroutines gives the same object for the same place, so that views can use it as
 * a key; two sources do not share them, use {@link placeKey} across.
 */
export interface Place {
  /** The whole name, with package path: "net/http.(*Server).Serve". Empty where it is not known. */
  readonly function: string;
  /** As the compiler recorded it; empty where it is not known. */
  readonly file: string;
  /** 0 where it is not known. */
  readonly line: number;
}

export interface StackFrame extends Place {
  readonly inlined: boolean;
}

export const unknownPlace: Place = { function: "", file: "", line: 0 };

/**
 * The runtime's states as its people say them; runnable is waiting for a processor, preempted and copystack count as
 * waiting. "unknown" is what a file did not tell.
 */
export const goroutineStates = ["running", "runnable", "syscall", "waiting", "idle", "unknown"] as const;
export type GoroutineState = (typeof goroutineStates)[number];

export interface GoroutineSource {
  /** Rows. Dead goroutines have none. */
  readonly count: number;
  /** When it was taken, milliseconds since the epoch, or undefined where a file does not tell. */
  readonly takenAt: number | undefined;
  /** The goroutine's id; 0 where a file does not tell (grouped dumps). Unique but for 0. */
  id(row: number): number;
  /** How many goroutines the row stands for: 1, but for grouped dumps. */
  weight(row: number): number;
  state(row: number): GoroutineState;
  /** The runtime's word for what it waits for ("chan receive"); empty unless waiting, or where unknown. */
  reason(row: number): string;
  /**
   * How long it has waited, or -1 where that is not known: the runtime notes the beginning of a wait only when a
   * garbage collection finds the goroutine waiting (g.waitsince), and texts round down to minutes.
   */
  waitSeconds(row: number): Seconds;
  lockedToThread(row: number): boolean;
  /** The innermost frame that is not the runtime's own, as a traceback would show it first. */
  current(row: number): Place;
  /** The function that the go statement started; the line is that of the function, or of its frame in texts. */
  start(row: number): Place;
  /** The go statement. */
  creator(row: number): Place;
  /** The goroutine that ran the go statement; 0 where unknown (Go before 1.21). */
  creatorId(row: number): number;
  /** Whether the runtime calls it a system goroutine (runtime.isSystemGoroutine). */
  system(row: number): boolean;
  /** pprof labels, or undefined where it has none. */
  labels(row: number): ReadonlyMap<string, string> | undefined;
  /** Innermost first; empty where stacks were not read. */
  frames(row: number): readonly StackFrame[];
}

/** A place as a key that holds across snapshots. */
export function placeKey(place: Place): string {
  return `${place.function}\0${place.file}\0${place.line}`;
}

/** The place alone, for JSON: a source's own objects may know more of it. */
export function plainPlace({ function: name, file, line }: Place): Place {
  return { function: name, file, line };
}

/** `name (file:line)`, the name after its last slash ("http.(*Server).Serve") unless `full`. */
export function placeText(place: Place, full = false): string {
  if (place.function === "" && place.file === "") return "unknown";
  const name = full ? place.function : shortFunction(place.function);
  return place.file === "" ? name : `${name} (${place.file}:${place.line})`;
}

/** A function's name without the directories of its package: "net/http.(*Server).Serve" → "http.(*Server).Serve". */
export function shortFunction(name: string): string {
  // Type arguments in brackets may hold slashes of their own.
  const bracket = name.indexOf("[");
  const slash = name.lastIndexOf("/", bracket < 0 ? name.length : bracket);
  return name.slice(slash + 1);
}

/**
 * Whether a goroutine that started in `start` is the runtime's own (runtime/traceback.go isSystemGoroutine): for
 * sources that know the name alone.
 */
export function isSystemStart(start: string): boolean {
  if (!start.startsWith("runtime.")) return false;
  return start !== "runtime.main" && start !== "runtime.handleAsyncEvent" && start !== "runtime.corostart";
}
