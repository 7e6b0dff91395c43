/** A list on the screen with one row selected: what scrolls, and what stays in sight. */
import { styleText } from "node:util";
import { fit } from "../screen/cells.ts";
import type { Key } from "../screen/keys.ts";
import type { TableColumn } from "./groups-table.ts";

/** Selection and scroll position of a list; the selection follows its row's key when rows move. */
export class ListView {
  private first = 0;
  private index = 0;
  private key: string | undefined;

  get selected(): number {
    return this.index;
  }

  /** Fits the position to the list as it is now. */
  settle(keys: readonly string[], height: number): void {
    if (this.key !== undefined) {
      const found = keys.indexOf(this.key);
      if (found >= 0) this.index = found;
    }
    this.index = Math.max(0, Math.min(this.index, keys.length - 1));
    if (this.index < this.first) this.first = this.index;
    if (this.index >= this.first + height) this.first = this.index - height + 1;
    this.first = Math.max(0, Math.min(this.first, keys.length - height));
  }

  /** Moves by a key; returns whether it was one that moves. The first row is not held on to: it stays the largest. */
  move(key: Key, keys: readonly string[], height: number): boolean {
    const step = steps(height)[typeof key === "string" ? key : ""];
    if (step === undefined) return false;
    this.index = Math.max(0, Math.min(keys.length - 1, this.index + step));
    this.key = this.index === 0 ? undefined : keys[this.index];
    return true;
  }

  /** The rows in sight, with the index of the first. */
  window<T>(rows: readonly T[], height: number): { first: number; rows: readonly T[] } {
    return { first: this.first, rows: rows.slice(this.first, this.first + height) };
  }
}

function steps(height: number): Record<string, number> {
  return {
    up: -1,
    down: 1,
    "wheel-up": -3,
    "wheel-down": 3,
    "page-up": -height,
    "page-down": height,
    home: -1e9,
    end: 1e9,
  };
}

/** A title line and the rows in sight, each in exactly `width` cells. */
export function tableLines<Row>(
  columns: readonly TableColumn<Row>[],
  rows: readonly Row[],
  selected: number,
  width: number,
): string[] {
  const fixed = columns.reduce((sum, column) => sum + (column.width === 0 ? 0 : column.width + 1), 0);
  const widths = columns.map((column) => column.width || Math.max(1, width - fixed));
  const line = (cell: (column: TableColumn<Row>) => string): string =>
    fit(columns.map((column, i) => fit(cell(column), widths[i]!, column.align)).join(" "), width);
  const title = styleText(
    "inverse",
    line((column) => column.title),
    { validateStream: false } as never,
  );
  return [
    title,
    ...rows.map((row, i) => {
      const text = line((column) => column.cell(row));
      return i === selected ? `\x1b[1;7m${text}\x1b[0m` : text;
    }),
  ];
}
