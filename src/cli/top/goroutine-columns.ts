/** The columns of single goroutines, rows of a source. */
import { formatDuration } from "../../base/duration.ts";
import { escapeTerminal } from "../../base/escape.ts";
import { type GoroutineSource, placeText } from "../../views/goroutine-source.ts";
import type { TableColumn } from "./groups-table.ts";

/** Narrow screens leave the less important ones out. */
export function goroutineColumns(source: GoroutineSource, screen: number): TableColumn<number>[] {
  const waited = (row: number): string => {
    const seconds = source.waitSeconds(row);
    return seconds < 0 ? "-" : formatDuration(Math.floor(seconds) * 1e9);
  };
  const labels = (row: number): string =>
    [...(source.labels(row) ?? [])].map(([key, value]) => escapeTerminal(`${key}=${value}`)).join(" ");
  const columns: (TableColumn<number> & { readonly from: number })[] = [
    { title: "ID", align: "right", width: 9, from: 0, cell: (row) => String(source.id(row)) },
    { title: "STATE", align: "left", width: 8, from: 50, cell: (row) => source.state(row) },
    { title: "REASON", align: "left", width: 18, from: 70, cell: (row) => escapeTerminal(source.reason(row) || "-") },
    { title: "WAITED", align: "right", width: 8, from: 60, cell: waited },
    { title: "LABELS", align: "left", width: 20, from: 140, cell: labels },
    {
      title: "FUNCTION, CREATED BY",
      align: "left",
      width: 0,
      from: 0,
      cell: (row) =>
        escapeTerminal(
          `${placeText({ ...source.start(row), file: "" })}, ${placeText(source.creator(row))}` +
            (source.creatorId(row) > 0 ? ` in goroutine ${source.creatorId(row)}` : ""),
        ),
    },
  ];
  return columns.filter((column) => screen >= column.from);
}
