/** Stacks with counts, as a process prints them for goroutine?debug=1 (runtime/pprof printCountProfile). */
import { compareText } from "../base/sorted.ts";
import type { GoroutineReader } from "../go/goroutine-reader.ts";
import type { Labels } from "../go/labels.ts";
import { stackBottom } from "../go/source-frames.ts";
import { type CountedStack, countStacks, type StackEntry } from "./counted-stacks.ts";
import type { DumpOptions, DumpTally } from "./dump.ts";

/** The text; most goroutines first. */
export function groupedText(reader: GoroutineReader, options: DumpOptions, tally: DumpTally): string {
  const stacks = countStacks(reader, options, tally).map((stack) => ({ stack, key: keyOf(stack) }));
  stacks.sort((a, b) => b.stack.count - a.stack.count || compareText(a.key, b.key));
  let text = `goroutine profile: total ${tally.goroutines}\n`;
  for (const { stack, key } of stacks) text += `${stack.count} ${key}\n${frameLines(stack.frames)}\n`;
  return text;
}

function keyOf(stack: CountedStack): string {
  // Addresses are return addresses: one behind the call's last byte.
  const addresses = stack.frames.map((frame) => ` ${hex(frame.pc === 0 ? 0 : frame.pc + 1)}`).join("");
  return `@${addresses}${stack.labels ? `\n# labels: ${labelText(stack.labels)}` : ""}`;
}

function labelText(labels: Labels): string {
  return `{${[...labels].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(", ")}}`;
}

/** The runtime's own frames at the inner end are left out, unless there are no others. */
function frameLines(frames: readonly StackEntry[]): string {
  const named = frames.filter(({ function: name }) => name !== stackBottom);
  const first = named.findIndex(({ function: name }) => !/^(internal\/)?runtime[./]/.test(name));
  return alignedLines(
    named
      .slice(Math.max(0, first))
      .map((frame) =>
        frame.pc === 0 && frame.file === ""
          ? ["#", "0x0", frame.function]
          : ["#", hex(frame.pc), `${frame.function}+${hex(frame.pc - frame.entry)}`, `${frame.file}:${frame.line}`],
      ),
  );
}

/** As text/tabwriter aligns with tabs of 8: all cells but a line's last make columns. */
function alignedLines(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows)
    row.slice(0, -1).forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, Math.ceil((cell.length + 1) / 8) * 8);
    });
  const pad = (cell: string, column: number): string =>
    cell + "\t".repeat(Math.ceil((widths[column]! - cell.length) / 8));
  return rows.map((row) => `${row.slice(0, -1).map(pad).join("")}${row.at(-1)}\n`).join("");
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
