/** What changed between snapshots of goroutines: which groups grew, shrank, are new or gone, and how fast. */

import { formatDuration } from "../base/duration.ts";
import { escapeTerminal } from "../base/escape.ts";
import { compareText } from "../base/sorted.ts";
import { textTable } from "../base/text-table.ts";
import type { Seconds } from "../base/units.ts";
import type { GoroutineFilter } from "./filters.ts";
import { type GoroutineSource, type Place, placeText } from "./goroutine-source.ts";
import { type GoroutineGroup, type GroupBy, groupGoroutines } from "./groups.ts";

/** A group's way through the snapshots. */
export interface GroupChange {
  readonly key: string;
  /** For groups by place: the place (for the default, the go statement). */
  readonly place: Place;
  /** For other groups: what they are called. */
  readonly name: string;
  readonly kind: "new" | "gone" | "grew" | "shrank" | "same";
  readonly before: number;
  readonly after: number;
  readonly change: number;
  /** Goroutines a minute, or undefined where the snapshots do not tell their times. */
  readonly perMinute: number | undefined;
  /** Counts in each snapshot, where there are more than two. */
  readonly counts: readonly number[];
  /** Of a goroutine in it: the one that waits longest. */
  readonly start: Place;
  readonly reason: string;
  /** The longest wait known in the last snapshot that has the group; -1 where none is known. */
  readonly oldestWait: Seconds;
}

export interface Difference {
  readonly by: GroupBy;
  readonly before: number;
  readonly after: number;
  /** Between the first and the last snapshot; undefined where they do not tell. */
  readonly seconds: Seconds | undefined;
  readonly snapshots: number;
  /** Changed groups only: the largest growth first, the largest loss last. */
  readonly changes: readonly GroupChange[];
  /** Groups that did not change. */
  readonly unchanged: number;
}

export interface DifferenceOptions {
  /** Default: by go statement, which names the place that leaks. */
  readonly by?: GroupBy | undefined;
  readonly filter?: GoroutineFilter | undefined;
}

/** One snapshot reduced to its groups: all that a difference needs of it, so that the snapshot can be dropped. */
export interface GroupedSnapshot {
  readonly takenAt: number | undefined;
  readonly groups: ReadonlyMap<string, { readonly group: GoroutineGroup; readonly start: Place }>;
  readonly total: number;
}

/** Groups a snapshot for {@link compareGrouped}. System goroutines are left out unless the filter asks for them. */
export function groupSnapshot(source: GoroutineSource, options: DifferenceOptions = {}): GroupedSnapshot {
  const groups = groupGoroutines(source, options.by ?? { kind: "creator" }, {
    // Texts leave the runtime's own goroutines out, memory has them: they would all seem new or gone.
    filter: { system: false, ...options.filter },
  });
  return {
    takenAt: source.takenAt,
    groups: new Map(groups.map((group) => [group.key, { group, start: source.start(group.example) }])),
    total: groups.reduce((sum, group) => sum + group.count, 0),
  };
}

/** Compares two or more snapshots, oldest first. */
export function compareSnapshots(sources: readonly GoroutineSource[], options: DifferenceOptions = {}): Difference {
  return compareGrouped(
    sources.map((source) => groupSnapshot(source, options)),
    options.by,
  );
}

/** Compares grouped snapshots, oldest first. */
export function compareGrouped(snapshots: readonly GroupedSnapshot[], by: GroupBy = { kind: "creator" }): Difference {
  const first = snapshots[0]!;
  const last = snapshots.at(-1)!;
  const elapsed =
    first.takenAt === undefined || last.takenAt === undefined ? undefined : (last.takenAt - first.takenAt) / 1000;
  const seconds = elapsed !== undefined && elapsed > 0 ? elapsed : undefined;
  const changes: GroupChange[] = [];
  let unchanged = 0;
  for (const key of new Set(snapshots.flatMap((snapshot) => [...snapshot.groups.keys()]))) {
    const change = changeOf(key, snapshots, seconds);
    if (change.kind === "same") unchanged++;
    else changes.push(change);
  }
  changes.sort((a, b) => b.change - a.change || b.after - a.after || compareText(a.key, b.key));
  return { by, before: first.total, after: last.total, seconds, snapshots: snapshots.length, changes, unchanged };
}

function changeOf(key: string, snapshots: readonly GroupedSnapshot[], seconds: Seconds | undefined): GroupChange {
  const counts = snapshots.map((snapshot) => snapshot.groups.get(key)?.group.count ?? 0);
  const before = counts[0]!;
  const after = counts.at(-1)!;
  const { group, start } = snapshots.findLast((snapshot) => snapshot.groups.has(key))!.groups.get(key)!;
  const change = after - before;
  return {
    key,
    place: group.place,
    name: group.name,
    kind: kindOf(before, after, counts),
    before,
    after,
    change,
    perMinute: seconds === undefined ? undefined : (change * 60) / seconds,
    counts: snapshots.length > 2 ? counts : [],
    start,
    reason: group.reason,
    oldestWait: group.longestWait,
  };
}

function kindOf(before: number, after: number, counts: readonly number[]): GroupChange["kind"] {
  if (before === after) return before === 0 && counts.some((count) => count > 0) ? "gone" : "same";
  if (before === 0) return "new";
  if (after === 0) return "gone";
  return after > before ? "grew" : "shrank";
}

/** The largest growth of one group. */
export function largestGrowth(difference: Difference): number {
  return Math.max(0, difference.changes[0]?.change ?? 0);
}

const rateFormat = (perMinute: number | undefined): string =>
  perMinute === undefined ? "-" : `${perMinute > 0 ? "+" : ""}${perMinute.toFixed(Math.abs(perMinute) < 10 ? 1 : 0)}`;

/** The difference for terminals; `limit` rows. */
export function differenceText(difference: Difference, limit = 40, fullNames = false): string {
  const { before, after, seconds, changes, unchanged } = difference;
  const change = after - before;
  const lines = [
    `Goroutines: ${before} before, ${after} after: ${signed(change)}` +
      (seconds === undefined ? "" : ` in ${formatDuration(seconds * 1e9)}`),
  ];
  if (changes.length === 0) return `${lines[0]}\nNo group changed (${unchanged} compared).\n`;
  const columns = ["change", "per min", "before", "after"].map((title) => ({ title, align: "right" as const }));
  const rows = shown(changes, limit).map((one) => [
    signed(one.change),
    rateFormat(one.perMinute),
    String(one.before),
    String(one.after),
    one.oldestWait < 0 ? "-" : formatDuration(one.oldestWait * 1e9),
    one.kind,
    escapeTerminal(one.reason || "-"),
    escapeTerminal(changeName(one, difference.by, fullNames)),
  ]);
  const named = [
    { title: "oldest", align: "right" as const },
    { title: "" },
    { title: "reason" },
    { title: titleOf(difference.by) },
  ];
  lines.push("", ...textTable([...columns, ...named], rows));
  if (changes.length > rows.length) lines.push(`… and ${changes.length - rows.length} more groups that changed`);
  if (unchanged > 0) lines.push(`${unchanged} ${unchanged === 1 ? "group" : "groups"} did not change`);
  return `${lines.join("\n")}\n`;
}

/** Both ends of the list: what grew most and what shrank most. */
function shown(changes: readonly GroupChange[], limit: number): readonly GroupChange[] {
  if (changes.length <= limit) return changes;
  const lost = changes.slice(-Math.ceil(limit / 4)).filter((one) => one.change < 0);
  return [...changes.slice(0, limit - lost.length), ...lost];
}

function signed(value: number): string {
  return value > 0 ? `+${value}` : String(value);
}

function changeName(change: GroupChange, by: GroupBy, fullNames: boolean): string {
  if (change.name !== "") return change.name;
  const place = placeText(change.place, fullNames);
  if (by.kind !== "creator" || change.start.function === "") return place;
  const start = fullNames ? change.start.function : placeText({ ...change.start, file: "" });
  return `${place} → ${start}`;
}

function titleOf(by: GroupBy): string {
  switch (by.kind) {
    case "creator":
      return "created by → runs";
    case "label":
      return `label ${by.key}`;
    default:
      return by.kind;
  }
}
