/** The screens of `top` for one process: groups, the goroutines of a group, one stack, help; from sample and keys to rows. */
import { formatDuration } from "../../base/duration.ts";
import { errnoOf, ProcscopeError } from "../../base/errors.ts";
import { escapeTerminal } from "../../base/escape.ts";
import type { Seconds } from "../../base/units.ts";
import { type GroupBy, rowsOfGroup } from "../../views/groups.ts";
import type { Key } from "../screen/keys.ts";
import { goroutineColumns } from "./goroutine-columns.ts";
import {
  Baselines,
  type GroupRow,
  groupColumns,
  groupName,
  groupWord,
  needsStacks,
  type ResourceOf,
  type SortOrder,
  sortOrders,
  sortRows,
} from "./groups-table.ts";
import { headLines, TotalHistory } from "./head-lines.ts";
import { helpLines } from "./help-lines.ts";
import { ListView, tableLines } from "./list-view.ts";
import type { TopSample } from "./sample.ts";

/** What the screen asks of whoever runs it. */
export interface TopActions {
  quit(): void;
  /** A new sample now. */
  refresh(): void;
  /** Another time between samples. */
  setInterval(seconds: Seconds): void;
  /** Writes a dump file; resolves to its name. */
  writeDump(): Promise<string>;
  /** Lines of a goroutine's stack and of what it waits for; undefined where there is no such goroutine any more. */
  describe(id: number): readonly string[] | undefined;
  /** What goroutines of a sample wait for. */
  resources(sample: TopSample): ResourceOf;
  /** Draw again: something changed that no key did. */
  redraw(): void;
}

type View =
  | { readonly kind: "groups"; readonly list: ListView }
  | { readonly kind: "goroutines"; readonly list: ListView; readonly by: GroupBy; readonly key: string; name: string }
  | { readonly kind: "stack"; readonly list: ListView; readonly id: number; lines: readonly string[] }
  | { readonly kind: "help"; readonly list: ListView };

const intervals: readonly Seconds[] = [0.25, 0.5, 1, 2, 5, 10, 30, 60];

export interface TopSettings {
  readonly interval: Seconds;
  readonly by: GroupBy;
}

export class TopScreen {
  private readonly actions: TopActions;
  private readonly views: View[] = [{ kind: "groups", list: new ListView() }];
  private readonly baselines = new Baselines();
  private readonly history = new TotalHistory();
  private sample: TopSample | undefined;
  private interval: Seconds;
  private by: GroupBy;
  private sort: SortOrder = "count";
  private filter = "";
  /** The text being typed after "/", undefined where none is. */
  private typing: string | undefined;
  private suspended = false;
  private markedAt: number | undefined;
  private message = "";
  /** What the last drawing showed, for keys to act upon. */
  private keys: readonly string[] = [];
  private listHeight = 1;
  /** Groups of the sample as last asked for: moving the selection groups nothing again. */
  private cached: { readonly sample: TopSample; readonly what: string; readonly rows: GroupRow[] } | undefined;

  constructor(actions: TopActions, settings: TopSettings) {
    this.actions = actions;
    this.interval = settings.interval;
    this.by = settings.by;
  }

  /** Whether whole stacks are needed for what is shown. */
  get needsStacks(): boolean {
    return needsStacks(this.by);
  }

  /** Takes a new sample over. */
  update(sample: TopSample): void {
    // The total is counted on while the view is suspended: its curve has no hole then.
    this.history.add(sample.total);
    if (this.suspended && this.sample && (this.sample.stacks || !this.needsStacks)) return;
    this.sample = sample;
    const view = this.view;
    if (view.kind === "stack") view.lines = this.actions.describe(view.id) ?? [...view.lines, "", "(it has ended)"];
  }

  key(key: Key): void {
    this.message = "";
    if (key === "interrupt") this.actions.quit();
    // What a terminal sends at once may begin with "/" and go on with the filter.
    else if (typeof key === "object") for (const letter of key.text) this.letterOrText(letter);
    else if (this.typing !== undefined) this.type(key);
    else if (!this.view.list.move(key, this.keys, this.listHeight)) this.command(key);
  }

  private letterOrText(letter: string): void {
    if (this.typing !== undefined) this.type({ text: letter });
    else this.letter(letter);
  }

  private command(key: Key): void {
    if (key === "enter" || key === "right") this.open();
    else if (key === "escape" || key === "left" || key === "backspace") this.back();
  }

  /** The screen, exactly as many rows as it is high. */
  rows(width: number, height: number): string[] {
    const head = headLines({
      sample: this.sample,
      history: this.history.values,
      interval: this.interval,
      suspended: this.suspended,
      about: this.about(),
      width,
      height,
    });
    const room = Math.max(1, height - head.length - 1);
    const body = this.sample ? this.body(this.sample, width, room) : ["reading …"];
    const rows = [...head, ...body];
    while (rows.length < height - 1) rows.push("");
    return [...rows.slice(0, Math.max(0, height - 1)), this.foot()];
  }

  private get view(): View {
    return this.views.at(-1)!;
  }

  private body(sample: TopSample, width: number, room: number): string[] {
    const view = this.view;
    switch (view.kind) {
      case "groups": {
        if (this.needsStacks && !sample.stacks) return ["reading stacks …"];
        const rows = this.groups(sample);
        const columns = groupColumns(this.by, this.baselines.isMarked, width);
        return this.table(view.list, columns, rows, (row) => row.group.key, width, room);
      }
      case "goroutines": {
        const rows = this.goroutines(sample, view);
        const columns = goroutineColumns(sample.source, width);
        return this.table(view.list, columns, rows, (row) => String(sample.source.id(row)), width, room);
      }
      case "stack":
        return this.text(view.list, view.lines, room);
      case "help":
        return this.text(view.list, helpLines, room);
    }
  }

  private table<Row>(
    list: ListView,
    columns: Parameters<typeof tableLines<Row>>[0],
    rows: readonly Row[],
    keyOf: (row: Row) => string,
    width: number,
    room: number,
  ): string[] {
    this.keys = rows.map(keyOf);
    this.listHeight = Math.max(1, room - 1);
    list.settle(this.keys, this.listHeight);
    const window = list.window(rows, this.listHeight);
    const lines = tableLines(columns, window.rows, list.selected - window.first, width);
    if (rows.length === 0) lines.push(this.filter ? `nothing matches "${escapeTerminal(this.filter)}"` : "none");
    return lines;
  }

  /** Lines that scroll: the selection is the line at the top. */
  private text(list: ListView, lines: readonly string[], room: number): string[] {
    this.keys = lines.slice(0, Math.max(1, lines.length - room + 1)).map((_line, i) => String(i));
    this.listHeight = Math.max(1, room - 1);
    list.settle(this.keys, 1);
    return lines.slice(list.selected, list.selected + room);
  }

  private groups(sample: TopSample): GroupRow[] {
    const what = [groupWord(this.by), this.filter, this.sort, this.markedAt].join("\0");
    if (this.cached?.sample !== sample || this.cached.what !== what) {
      const filter = { text: this.filter || undefined };
      const rows = this.baselines.rows(sample, this.by, filter, (one) => this.actions.resources(one));
      this.cached = { sample, what, rows: sortRows(rows, this.sort, this.baselines.isMarked) };
    }
    return this.cached.rows;
  }

  private goroutines(sample: TopSample, view: View & { kind: "goroutines" }): number[] {
    const resourceOf = view.by.kind === "resource" ? this.actions.resources(sample) : undefined;
    const filter = { text: this.filter || undefined };
    return rowsOfGroup(sample.source, view.by, view.key, { resourceOf, filter });
  }

  /** Enter: from a group to its goroutines, from a goroutine to its stack. */
  private open(): void {
    const view = this.view;
    const key = this.keys[view.list.selected];
    if (!this.sample || key === undefined) return;
    if (view.kind === "groups") {
      const row = this.groups(this.sample)[view.list.selected];
      if (row) {
        const name = groupName(row.group);
        this.views.push({ kind: "goroutines", list: new ListView(), by: this.by, key: row.group.key, name });
      }
    } else if (view.kind === "goroutines") this.openStack(Number(key));
  }

  private openStack(id: number): void {
    const lines = this.actions.describe(id);
    if (lines) this.views.push({ kind: "stack", list: new ListView(), id, lines });
    else this.message = `goroutine ${id} has ended`;
  }

  private back(): void {
    if (this.views.length > 1) this.views.pop();
    else if (this.filter !== "") this.filter = "";
  }

  private letter(letter: string): void {
    switch (letter) {
      case "q":
        // A screen inside is left first, as pagers do it.
        if (this.views.length > 1) this.views.pop();
        else this.actions.quit();
        break;
      case "g":
        this.nextGrouping();
        break;
      case "S":
        this.sort = sortOrders[(sortOrders.indexOf(this.sort) + 1) % sortOrders.length]!;
        break;
      case "r":
        this.actions.refresh();
        break;
      case "/":
        this.typing = this.filter;
        break;
      case "m":
        this.mark();
        break;
      case " ":
      case "s":
        this.suspended = !this.suspended;
        if (!this.suspended) this.actions.refresh();
        break;
      case "+":
      case "-":
        this.changeInterval(letter === "+" ? 1 : -1);
        break;
      case "d":
        this.dump();
        break;
      case "h":
      case "?":
        if (this.view.kind !== "help") this.views.push({ kind: "help", list: new ListView() });
        break;
      default:
        break;
    }
  }

  /** Start, current, creator function; wait reason; label; what is waited for. */
  private nextGrouping(): void {
    if (this.view.kind !== "groups") return;
    const label = this.commonLabel();
    const all: GroupBy[] = [
      { kind: "start" },
      { kind: "current" },
      { kind: "creator" },
      { kind: "reason" },
      ...(label === undefined ? [] : [{ kind: "label" as const, key: label }]),
      { kind: "resource" },
    ];
    const at = all.findIndex((one) => one.kind === this.by.kind);
    this.by = all[(at + 1) % all.length]!;
    // Frames may not have been read for the sample that is there.
    this.actions.refresh();
  }

  private commonLabel(): string | undefined {
    const source = this.sample?.source;
    if (!source) return undefined;
    const counts = new Map<string, number>();
    for (let row = 0; row < source.count; row++) {
      for (const key of source.labels(row)?.keys() ?? []) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
  }

  private mark(): void {
    if (!this.sample) return;
    this.markedAt = this.sample.at;
    this.baselines.mark(this.sample);
    this.message = "marked: the column MARK counts from now";
  }

  private changeInterval(step: number): void {
    const at = intervals.findIndex((seconds) => seconds >= this.interval);
    const next = intervals[Math.max(0, Math.min(intervals.length - 1, (at < 0 ? intervals.length - 1 : at) + step))]!;
    this.interval = next;
    this.actions.setInterval(next);
  }

  private dump(): void {
    this.message = "writing a dump …";
    this.actions
      .writeDump()
      .then(
        (file) => {
          this.message = `wrote ${escapeTerminal(file)}`;
        },
        (error: unknown) => {
          const why = error instanceof ProcscopeError ? error.message : (errnoOf(error) ?? String(error));
          this.message = escapeTerminal(`no dump written: ${why}`);
        },
      )
      .then(() => this.actions.redraw());
  }

  /** The filter while it is typed: it applies at once; Enter keeps it, Escape drops it. */
  private type(key: Key): void {
    const text = this.typing!;
    if (key === "enter") this.typing = undefined;
    else if (key === "escape") {
      this.typing = undefined;
      this.filter = "";
    } else if (key === "backspace") this.typing = [...text].slice(0, -1).join("");
    else if (typeof key === "object") this.typing = text + key.text;
    if (this.typing !== undefined) this.filter = this.typing;
  }

  /** What the list shows, for the head's last line. */
  private about(): string {
    const view = this.view;
    const words: string[] = [];
    if (view.kind === "goroutines") words.push(`goroutines of ${view.name}`);
    else if (view.kind === "stack") words.push(`goroutine ${view.id}`);
    else if (view.kind === "help") words.push("help");
    else words.push(`by ${escapeTerminal(groupWord(this.by))}`, `sorted by ${this.sort}`);
    if (this.filter !== "") words.push(`filter "${escapeTerminal(this.filter)}"`);
    if (this.markedAt !== undefined && this.sample) {
      words.push(`marked ${formatDuration(Math.max(0, this.sample.at - this.markedAt) * 1e6)} ago`);
    }
    return words.join(", ");
  }

  private foot(): string {
    if (this.typing !== undefined) return `/${escapeTerminal(this.typing)}\x1b[7m \x1b[0m`;
    if (this.message !== "") return this.message;
    switch (this.view.kind) {
      case "groups":
        return "g group  S sort  / filter  Enter open  m mark  s suspend  +/- interval  d dump  h help  q quit";
      case "goroutines":
        return "Enter stack  Esc back  / filter  s suspend  h help";
      default:
        return "arrows scroll  Esc back";
    }
  }
}
