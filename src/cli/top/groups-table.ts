/** The groups of a sample as rows: change since the start and since the mark, sorting, filtering, by any grouping. */
import { formatDuration } from "../../base/duration.ts";
import { escapeTerminal } from "../../base/escape.ts";
import type { GoroutineFilter } from "../../views/filters.ts";
import { goroutineStates, placeText } from "../../views/goroutine-source.ts";
import { type GoroutineGroup, type GroupBy, groupGoroutines } from "../../views/groups.ts";
import type { TopSample } from "./sample.ts";

export interface GroupRow {
  readonly group: GoroutineGroup;
  /** Since the first sample that was grouped so. */
  readonly change: number;
  /** Since the mark, or undefined where none is set. */
  readonly marked: number | undefined;
}

export const sortOrders = ["count", "change", "wait", "name"] as const;
export type SortOrder = (typeof sortOrders)[number];

/** A column of the table. Another view of the process (CPU by function) brings its own set. */
export interface TableColumn<Row> {
  readonly title: string;
  readonly align: "left" | "right";
  /** Cells; 0 takes what the others leave. */
  readonly width: number;
  cell(row: Row): string;
}

/** What a goroutine waits for, by row, for the sample's source; undefined where it cannot be told. */
export type ResourceOf = (row: number) => { readonly key: string; readonly name: string } | undefined;

type Counts = ReadonlyMap<string, number>;

/** Remembers the counts that changes are counted from, for every grouping apart. */
export class Baselines {
  private readonly starts = new Map<string, Counts>();
  private readonly marks = new Map<string, Counts>();
  private marked: TopSample | undefined;

  /** Changes count from this sample too. */
  mark(sample: TopSample | undefined): void {
    this.marked = sample;
    this.marks.clear();
  }

  get isMarked(): boolean {
    return this.marked !== undefined;
  }

  /** Groups a sample; the first time of a grouping is what its changes count from. */
  rows(
    sample: TopSample,
    by: GroupBy,
    filter: GoroutineFilter,
    resources: (sample: TopSample) => ResourceOf,
  ): GroupRow[] {
    const name = groupWord(by);
    const all = (one: TopSample): GoroutineGroup[] =>
      groupGoroutines(one.source, by, { resourceOf: by.kind === "resource" ? resources(one) : undefined });
    if (!this.starts.has(name)) this.starts.set(name, countsOf(all(sample)));
    // A mark that was set while stacks were not read has no counts for groupings that need them.
    const marked = this.marked && (this.marked.stacks || !needsStacks(by)) ? this.marked : undefined;
    if (marked && !this.marks.has(name)) this.marks.set(name, countsOf(all(marked)));
    const start = this.starts.get(name)!;
    const mark = this.marks.get(name);
    const groups = groupGoroutines(sample.source, by, {
      filter,
      resourceOf: by.kind === "resource" ? resources(sample) : undefined,
    });
    return groups.map((group) => ({
      group,
      change: group.count - (start.get(group.key) ?? 0),
      marked: mark && group.count - (mark.get(group.key) ?? 0),
    }));
  }
}

function countsOf(groups: readonly GoroutineGroup[]): Counts {
  return new Map(groups.map((group) => [group.key, group.count]));
}

export function sortRows(rows: GroupRow[], order: SortOrder, marked: boolean): GroupRow[] {
  const change = (row: GroupRow): number => (marked ? (row.marked ?? 0) : row.change);
  switch (order) {
    case "count":
      return rows;
    case "change":
      return rows.sort((a, b) => change(b) - change(a) || b.group.count - a.group.count);
    case "wait":
      return rows.sort((a, b) => b.group.longestWait - a.group.longestWait || b.group.count - a.group.count);
    case "name":
      return rows.sort((a, b) => (groupName(a.group) < groupName(b.group) ? -1 : 1));
  }
}

/** Whether a grouping can be made only where whole stacks were read. */
export function needsStacks(by: GroupBy): boolean {
  // What a goroutine of an older Go waits for is told by its stack.
  return by.kind === "current" || by.kind === "stack" || by.kind === "resource";
}

/** As `--group` takes it. */
export function groupWord(by: GroupBy): string {
  return by.kind === "label" ? `label:${by.key}` : by.kind;
}

/** A group's name, escaped for terminals. */
export function groupName(group: GoroutineGroup): string {
  return escapeTerminal(group.name === "" ? placeText(group.place) : group.name);
}

const signed = (value: number | undefined): string =>
  value === undefined ? "" : value === 0 ? "·" : value > 0 ? `+${value}` : String(value);

const stateCount = (state: (typeof goroutineStates)[number]) => {
  const index = goroutineStates.indexOf(state);
  return (row: GroupRow): string => (row.group.states[index] ? String(row.group.states[index]) : "·");
};

/** The columns of goroutine groups; narrow screens leave the less important ones out. */
export function groupColumns(by: GroupBy, marked: boolean, screen: number): TableColumn<GroupRow>[] {
  const right = "right" as const;
  const columns: (TableColumn<GroupRow> & { readonly from: number })[] = [
    { title: "COUNT", align: right, width: 8, from: 0, cell: (row) => String(row.group.count) },
    { title: "CHANGE", align: right, width: 8, from: 40, cell: (row) => signed(row.change) },
    { title: "RUN", align: right, width: 5, from: 110, cell: stateCount("running") },
    { title: "READY", align: right, width: 6, from: 110, cell: stateCount("runnable") },
    { title: "SYSC", align: right, width: 6, from: 100, cell: stateCount("syscall") },
    { title: "WAIT", align: right, width: 8, from: 100, cell: stateCount("waiting") },
    { title: "REASON", align: "left", width: 16, from: 70, cell: (row) => escapeTerminal(row.group.reason || "-") },
    {
      title: "LONGEST",
      align: right,
      width: 8,
      from: 60,
      cell: (row) => (row.group.longestWait < 0 ? "-" : formatDuration(Math.floor(row.group.longestWait) * 1e9)),
    },
    { title: titleOf(by), align: "left", width: 0, from: 0, cell: (row) => groupName(row.group) },
  ];
  if (marked) {
    const cell = (row: GroupRow): string => (row.marked === undefined ? "-" : signed(row.marked));
    columns.splice(2, 0, { title: "MARK", align: right, width: 8, from: 50, cell });
  }
  return columns.filter((column) => screen >= column.from);
}

function titleOf(by: GroupBy): string {
  const titles = {
    start: "FUNCTION",
    current: "CURRENT FUNCTION",
    creator: "CREATED BY",
    reason: "WAIT REASON",
    state: "STATE",
    stack: "STACK",
    resource: "WAITS FOR",
  };
  return by.kind === "label" ? `LABEL ${escapeTerminal(by.key)}` : titles[by.kind];
}
