/** The lines above the table: the process, its use of the machine, its goroutines by state with their curve. */
import { styleText } from "node:util";
import { formatDuration } from "../../base/duration.ts";
import { escapeTerminal } from "../../base/escape.ts";
import { formatBytes } from "../../base/quantity.ts";
import type { Seconds } from "../../base/units.ts";
import { goroutineStates } from "../../views/goroutine-source.ts";
import { fit, sparkline } from "../screen/cells.ts";
import type { TopSample } from "./sample.ts";

/** The totals of the last samples: bounded, as a view may stay open for weeks. */
export class TotalHistory {
  readonly values: number[] = [];

  add(total: number): void {
    this.values.push(total);
    if (this.values.length > 240) this.values.splice(0, 120);
  }
}

export interface HeadFacts {
  readonly sample: TopSample | undefined;
  readonly history: readonly number[];
  readonly interval: Seconds;
  readonly suspended: boolean;
  /** What the table shows. */
  readonly about: string;
  readonly width: number;
  readonly height: number;
}

/** Up to five lines; a low screen keeps the first, and the table its room. */
export function headLines(facts: HeadFacts): string[] {
  const { sample, width, height } = facts;
  const bold = (text: string): string => styleText("bold", text, { validateStream: false } as never);
  const title = fit(titleText(facts), width);
  if (!sample) return [bold(title)];
  const lines = [bold(title), useText(sample), statesText(facts, sample), facts.about];
  return lines.slice(0, Math.max(1, Math.min(lines.length, Math.floor(height / 3)))).map((line) => fit(line, width));
}

function titleText({ sample, interval, suspended }: HeadFacts): string {
  const every = suspended ? "SUSPENDED" : `every ${formatDuration(interval * 1e9)}`;
  if (!sample) return `procscope top, ${every}`;
  const { pid, name, goVersion, uptime } = sample.head;
  const up = uptime === undefined ? "" : `, up ${formatDuration(Math.floor(uptime) * 1e9)}`;
  return `procscope top: ${pid} ${escapeTerminal(name)}, go ${escapeTerminal(goVersion)}${up}, ${every}`;
}

function useText({ head }: TopSample): string {
  const { cpuPercent, residentBytes, threads, processors, heap } = head;
  const parts = [
    `CPU ${cpuPercent === undefined ? "-" : `${cpuPercent.toFixed(1)}%`}`,
    `RSS ${residentBytes === undefined ? "-" : formatBytes(residentBytes)}`,
    `threads ${threads ?? "-"}`,
    `Ps ${processors ? `${processors.busy} of ${processors.total} busy` : "-"}`,
    heap ? `heap ${formatBytes(heap.inUse)}, goal ${formatBytes(heap.goal)}` : "heap -",
    heap
      ? `GC ${heap.collections}${heap.lastPause === undefined ? "" : `, last pause ${formatDuration(heap.lastPause)}`}`
      : "GC -",
  ];
  return parts.join("  ");
}

function statesText({ history, width }: HeadFacts, { states, total }: TopSample): string {
  const counts = goroutineStates
    .map((state, i) => ({ state, count: states[i] ?? 0 }))
    .filter(({ state, count }) => count > 0 || (state !== "unknown" && state !== "idle"))
    .map(({ state, count }) => `${count} ${state}`);
  const text = `Goroutines ${total}: ${counts.join(", ")}  `;
  return text + sparkline(history, Math.max(0, Math.min(60, width - text.length)));
}
