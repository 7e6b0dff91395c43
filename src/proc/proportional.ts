/**
 * Proportional memory within a time budget. Each reading of smaps_rollup walks the page tables of a process under its
 * mmap lock, so a scan reads only as many as fit, going round, and leaves out processes above a size.
 */
import { performance } from "node:perf_hooks";
import type { Bytes } from "../base/units.ts";
import { ProcBuffer } from "../kernel/proc-file.ts";
import { readProportionalSizes } from "../kernel/proc-smaps-rollup.ts";
import type { ColumnGrouper } from "./column-grouper.ts";

export interface ProportionalOptions {
  /** Milliseconds a scan may spend. */
  readonly budget: number;
  /** Processes of more resident memory than this are never read. */
  readonly largest: Bytes;
}

export class ProportionalReader {
  private readonly grouper: ColumnGrouper;
  private readonly options: ProportionalOptions;
  private readonly buffer = new ProcBuffer();
  /** The process after which the next round goes on. */
  private next = 0;
  /** Processes that the last round left out for their size. */
  skippedLarge = 0;
  /** Processes that the last round did not get to; their sizes are those of an earlier one, or 0. */
  postponed = 0;

  constructor(grouper: ColumnGrouper, options: ProportionalOptions) {
    this.grouper = grouper;
    this.options = options;
  }

  /** Reads as many processes as the budget allows; called by the grouper's update, before it adds sizes up. */
  round(): void {
    const { source, state, options } = this.grouper;
    const { live, count, columns, id } = source.processes;
    const end = performance.now() + this.options.budget;
    this.skippedLarge = 0;
    this.postponed = 0;
    let visited = 0;
    for (; visited < count; visited++) {
      const row = live[(this.next + visited) % count]!;
      if (state.group[row]! <= 0) continue;
      if (columns.residentBytes[row]! > this.options.largest) {
        this.skippedLarge++;
        continue;
      }
      if (performance.now() >= end) break;
      const sizes = readProportionalSizes(`${options.mount}/${id[row]}`, this.buffer);
      if (!sizes) continue;
      state.proportionalResident[row] = sizes.resident;
      state.proportionalSwapped[row] = sizes.swapped;
    }
    this.postponed = count - visited;
    this.next = count === 0 ? 0 : (this.next + visited) % count;
  }
}
