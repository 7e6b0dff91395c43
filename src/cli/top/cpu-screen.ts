/** The screen of `top --cpu`: functions by CPU time. */
import { formatDuration } from "../../base/duration.ts";
import { escapeTerminal } from "../../base/escape.ts";
import type { Seconds } from "../../base/units.ts";
import { clip, sparkline } from "../screen/cells.ts";
import type { Key } from "../screen/keys.ts";
import type { CpuFunction, CpuSample } from "./cpu-functions.ts";
import type { TableColumn } from "./groups-table.ts";
import { ListView, tableLines } from "./list-view.ts";

export interface CpuActions {
  quit(): void;
  refresh(): void;
  setInterval(seconds: Seconds): void;
}

const columns: readonly TableColumn<CpuFunction>[] = [
  { title: "SELF%", align: "right", width: 7, cell: (row) => row.flat.toFixed(1) },
  { title: "TOTAL%", align: "right", width: 7, cell: (row) => row.cumulative.toFixed(1) },
  { title: "FUNCTION", align: "left", width: 0, cell: (row) => escapeTerminal(row.name) },
];

const mostHistory = 120;

export class CpuScreen {
  private readonly actions: CpuActions;
  private readonly title: string;
  private readonly list = new ListView();
  private readonly history: number[] = [];
  private sample: CpuSample | undefined;
  private interval: Seconds;
  private byTotal = false;
  private suspended = false;
  private filter = "";
  private typing = false;
  private keys: readonly string[] = [];
  private height = 1;

  constructor(actions: CpuActions, title: string, interval: Seconds) {
    this.actions = actions;
    this.title = title;
    this.interval = interval;
  }

  update(sample: CpuSample): void {
    this.history.push(sample.total);
    if (this.history.length > mostHistory) this.history.shift();
    if (!this.suspended) this.sample = sample;
  }

  key(key: Key): void {
    if (key === "interrupt") this.actions.quit();
    else if (typeof key === "object") for (const letter of key.text) this.letter(letter);
    else if (this.typing) this.type(key);
    else this.list.move(key, this.keys, this.height);
  }

  private letter(letter: string): void {
    if (this.typing) this.filter += letter;
    else if (letter === "q") this.actions.quit();
    else if (letter === "r") this.actions.refresh();
    else if (letter === "S") this.byTotal = !this.byTotal;
    else if (letter === " " || letter === "s") this.suspended = !this.suspended;
    else if (letter === "/") this.typing = true;
    else if (letter === "+" || letter === "-") {
      this.interval = Math.min(60, Math.max(0.5, this.interval * (letter === "+" ? 2 : 0.5)));
      this.actions.setInterval(this.interval);
    }
  }

  private type(key: Key): void {
    if (key === "backspace") this.filter = [...this.filter].slice(0, -1).join("");
    else if (key === "escape") this.filter = "";
    if (key === "escape" || key === "enter") this.typing = false;
  }

  rows(width: number, height: number): string[] {
    const head = this.head(width);
    this.height = Math.max(1, height - head.length - 2);
    const functions = this.shown();
    this.keys = functions.map((row) => row.name);
    this.list.settle(this.keys, this.height);
    const window = this.list.window(functions, this.height);
    const rows = [...head, ...tableLines(columns, window.rows, this.list.selected - window.first, width)];
    if (this.sample && functions.length === 0)
      rows.push(this.filter ? `nothing matches "${escapeTerminal(this.filter)}"` : "nothing ran");
    while (rows.length < height - 1) rows.push("");
    const foot = this.typing
      ? `/${escapeTerminal(this.filter)}\x1b[7m \x1b[0m`
      : "S sort by self or total  / filter  s suspend  r refresh  +/- interval  q quit";
    return [...rows.slice(0, Math.max(0, height - 1)), clip(foot, width)];
  }

  private head(width: number): string[] {
    const { sample } = this;
    const every = formatDuration(this.interval * 1e9);
    const first = `\x1b[1mprocscope top --cpu: ${escapeTerminal(this.title)}, every ${every}${this.suspended ? " (suspended)" : ""}\x1b[0m`;
    if (!sample) return [clip(first, width), "sampling …"];
    const what = sample.kind === "cpu" ? "of one CPU" : "waiting and running, by reading memory";
    const lost = sample.lost > 0 ? `, ${sample.lost} lost` : "";
    const second = `${sample.total.toFixed(1)} % ${what}, ${sample.samples} samples${lost}  ${sparkline(this.history, Math.min(40, Math.max(1, width - 60)))}`;
    return [first, second, ...sample.notes.map((note) => escapeTerminal(note))].map((line) => clip(line, width));
  }

  private shown(): readonly CpuFunction[] {
    const all = this.sample?.functions ?? [];
    const wanted = this.filter.toLowerCase();
    const matching = wanted === "" ? all : all.filter((row) => row.name.toLowerCase().includes(wanted));
    return this.byTotal ? [...matching].sort((a, b) => b.cumulative - a.cumulative) : matching;
  }
}
