/** Conditions on goroutines that `watch` waits for: `goroutines>5000`, `growth>100/min`, `wait>10m`. */
import { formatDuration, parseDuration } from "../base/duration.ts";
import { ProcscopeError } from "../base/errors.ts";
import { type GoroutineSource, placeText } from "./goroutine-source.ts";
import { totalGoroutines } from "./groups.ts";

export type WatchCondition =
  | { readonly kind: "goroutines"; readonly text: string; readonly limit: number }
  | { readonly kind: "growth"; readonly text: string; readonly perSecond: number; readonly window: number }
  | { readonly kind: "wait"; readonly text: string; readonly seconds: number };

/** Parses one condition; `>=` is taken as well as `>`. Throws USAGE. */
export function parseCondition(text: string): WatchCondition {
  const match = /^(goroutines|growth|wait)\s*>=?\s*(.+)$/.exec(text.trim());
  const [, kind, value] = match ?? [];
  if (kind === "goroutines" && /^\d+$/.test(value!)) return { kind, text, limit: Number(value) };
  if (kind === "wait") return { kind, text, seconds: parseDuration(value!) };
  const growth = kind === "growth" ? /^(\d+)\s*\/\s*(s|sec|m|min|h|hour)$/.exec(value!) : null;
  if (growth) {
    const window = growth[2]!.startsWith("s") ? 1 : growth[2]!.startsWith("m") ? 60 : 3600;
    return { kind: "growth", text, perSecond: Number(growth[1]) / window, window };
  }
  throw new ProcscopeError("USAGE", `not a condition: ${text}`, {
    hint: "write 'goroutines>5000', 'growth>100/min' (or /s, /h) or 'wait>10m'",
  });
}

/** What one look found. */
export interface WatchReading {
  readonly goroutines: number;
  /** A sentence for each condition that holds. */
  readonly met: readonly { readonly condition: WatchCondition; readonly what: string }[];
}

interface Point {
  /** Seconds on a clock that only goes forward. */
  readonly at: number;
  readonly count: number;
}

/** Judges conditions over the looks of one process. */
export class ConditionWatch {
  private readonly conditions: readonly WatchCondition[];
  /** Totals of the looks that rates are taken over, oldest first. */
  private readonly points: Point[] = [];

  constructor(conditions: readonly WatchCondition[]) {
    this.conditions = conditions;
  }

  /** `now` in seconds, on a clock that only goes forward. */
  read(source: GoroutineSource, now: number): WatchReading {
    const goroutines = totalGoroutines(source);
    this.points.push({ at: now, count: goroutines });
    this.forget(now);
    const met = this.conditions.flatMap((condition) => {
      const what = this.judge(condition, source, goroutines, now);
      return what === undefined ? [] : [{ condition, what }];
    });
    return { goroutines, met };
  }

  private judge(condition: WatchCondition, source: GoroutineSource, count: number, now: number): string | undefined {
    switch (condition.kind) {
      case "goroutines":
        return count > condition.limit ? `${count} goroutines` : undefined;
      case "wait":
        return longest(source, condition.seconds);
      case "growth":
        return this.growth(condition, count, now);
    }
  }

  /**
   * By the oldest look within the condition's window: a rate a minute is judged as soon as a look shows it, but over
   * at least a tenth of its window, so that one burst between two looks is not taken for a rate.
   */
  private growth(condition: WatchCondition & { kind: "growth" }, count: number, now: number): string | undefined {
    const first = this.points.find((point) => now - point.at <= condition.window);
    const seconds = first ? now - first.at : 0;
    if (!first || seconds < condition.window / 10) return undefined;
    const rate = (count - first.count) / seconds;
    if (rate <= condition.perSecond) return undefined;
    return `${count - first.count} more goroutines in ${formatDuration(seconds * 1e9)}`;
  }

  private forget(now: number): void {
    const windows = this.conditions.map((condition) => (condition.kind === "growth" ? condition.window : 0));
    const keep = Math.max(0, ...windows);
    while (this.points.length > 1 && now - this.points[0]!.at > keep) this.points.shift();
  }
}

/** System goroutines wait forever by design. */
function longest(source: GoroutineSource, limit: number): string | undefined {
  let row = -1;
  let most = limit;
  for (let i = 0; i < source.count; i++) {
    const wait = source.waitSeconds(i);
    if (wait > most && !source.system(i)) {
      most = wait;
      row = i;
    }
  }
  if (row < 0) return undefined;
  const reason = source.reason(row) || source.state(row);
  return `goroutine ${source.id(row)} waits for ${formatDuration(most * 1e9)} in ${reason}: ${placeText(source.start(row))}`;
}
