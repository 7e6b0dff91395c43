/** The screen of `top` without a process: all Go processes of the machine. */
import { formatDuration } from "../../base/duration.ts";
import { escapeTerminal } from "../../base/escape.ts";
import { formatBytes } from "../../base/quantity.ts";
import type { Pid, Seconds } from "../../base/units.ts";
import type { Key } from "../screen/keys.ts";
import type { TableColumn } from "./groups-table.ts";
import { ListView, tableLines } from "./list-view.ts";
import type { ProcessRow } from "./process-table.ts";

export interface ProcessActions {
  quit(): void;
  refresh(): void;
  setInterval(seconds: Seconds): void;
  open(pid: Pid): void;
}

const columns: readonly (TableColumn<ProcessRow> & { readonly from: number })[] = [
  { title: "PID", align: "right", width: 8, from: 0, cell: (row) => String(row.pid) },
  {
    title: "GOROUTINES",
    align: "right",
    width: 10,
    from: 0,
    cell: (row) => (row.goroutines === undefined ? "-" : String(row.goroutines)),
  },
  {
    title: "CHANGE",
    align: "right",
    width: 8,
    from: 60,
    cell: (row) => (row.change > 0 ? `+${row.change}` : String(row.change || "·")),
  },
  {
    title: "CPU%",
    align: "right",
    width: 6,
    from: 30,
    cell: (row) => (row.cpuPercent === undefined ? "-" : row.cpuPercent.toFixed(1)),
  },
  { title: "RSS", align: "right", width: 9, from: 40, cell: (row) => formatBytes(row.residentBytes) },
  {
    title: "HEAP",
    align: "right",
    width: 9,
    from: 70,
    cell: (row) => (row.heap ? formatBytes(row.heap.inUse) : "-"),
  },
  {
    title: "UP",
    align: "right",
    width: 7,
    from: 80,
    cell: (row) => (row.uptime === undefined ? "-" : formatDuration(Math.floor(row.uptime) * 1e9)),
  },
  { title: "GO", align: "left", width: 9, from: 50, cell: (row) => escapeTerminal(row.goVersion ?? "?") },
  { title: "NAME", align: "left", width: 0, from: 0, cell: (row) => escapeTerminal(row.problem ?? row.name) },
];

export class ProcessScreen {
  private readonly actions: ProcessActions;
  private readonly list = new ListView();
  private rowsNow: readonly ProcessRow[] = [];
  private interval: Seconds;
  private keys: readonly string[] = [];
  private height = 1;

  constructor(actions: ProcessActions, interval: Seconds) {
    this.actions = actions;
    this.interval = interval;
  }

  update(rows: readonly ProcessRow[]): void {
    this.rowsNow = rows;
  }

  key(key: Key): void {
    if (this.list.move(key, this.keys, this.height)) return;
    if (key === "interrupt") this.actions.quit();
    else if (key === "enter" || key === "right") {
      const row = this.rowsNow[this.list.selected];
      if (row) this.actions.open(row.pid);
    } else if (typeof key === "object") this.letter(key.text);
  }

  private letter(letter: string): void {
    if (letter === "q") this.actions.quit();
    else if (letter === "r") this.actions.refresh();
    else if (letter === "+" || letter === "-") {
      this.interval = Math.min(60, Math.max(0.5, this.interval * (letter === "+" ? 2 : 0.5)));
      this.actions.setInterval(this.interval);
    }
  }

  rows(width: number, height: number): string[] {
    this.height = Math.max(1, height - 3);
    this.keys = this.rowsNow.map((row) => String(row.pid));
    this.list.settle(this.keys, this.height);
    const shown = columns.filter((column) => width >= column.from);
    const window = this.list.window(this.rowsNow, this.height);
    const every = formatDuration(this.interval * 1e9);
    const rows = [
      `\x1b[1mprocscope top: ${this.rowsNow.length} Go processes, every ${every}\x1b[0m`,
      ...tableLines(shown, window.rows, this.list.selected - window.first, width),
    ];
    if (this.rowsNow.length === 0) rows.push("no Go process that this user may look at");
    while (rows.length < height - 1) rows.push("");
    return [...rows.slice(0, Math.max(0, height - 1)), "Enter open  r refresh  +/- interval  q quit"];
  }
}
