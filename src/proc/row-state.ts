/** What the grouper keeps about each row of a ProcessTable, in columns of the same row numbers. */
import { processCounterCount } from "./group.ts";
import { grown } from "./sources/row-table.ts";

/** Values of {@link RowState.group} that are not a group's index. */
export const ungrouped = 0;
export const ignored = -1;

/** Bits of {@link RowState.flags}. */
export const RowFlag = {
  /** Started after the grouper's first scan: all it ever used counts. */
  young: 1,
  /** Its exit record was counted: what its row still shows has been. */
  closed: 2,
  /** In its group because an ancestor is, not by a rule of its own. */
  inherited: 4,
} as const;

export class RowState {
  private capacity = 256;
  /** Index of the row's group, or ungrouped, or ignored. */
  group: Int32Array = new Int32Array(256);
  flags: Uint8Array = new Uint8Array(256);
  /** The counters as they were counted last; processCounterCount a row. */
  counted: Float64Array = new Float64Array(256 * processCounterCount);
  /** Bits of Field whose counters have a value in `counted` to count from. */
  based: Uint32Array = new Uint32Array(256);
  execMark: Float64Array = new Float64Array(256);
  /** Hash of the command line that the group was chosen by; only kept with recheck. */
  cmdlineHash: Int32Array = new Int32Array(256);
  proportionalResident: Float64Array = new Float64Array(256);
  proportionalSwapped: Float64Array = new Float64Array(256);

  ensure(capacity: number): void {
    while (this.capacity < capacity) {
      this.capacity *= 2;
      this.group = grown(this.group);
      this.flags = grown(this.flags);
      this.counted = grown(this.counted);
      this.based = grown(this.based);
      this.execMark = grown(this.execMark);
      this.cmdlineHash = grown(this.cmdlineHash);
      this.proportionalResident = grown(this.proportionalResident);
      this.proportionalSwapped = grown(this.proportionalSwapped);
    }
  }

  /** Start values of a row that a scan saw for the first time. */
  reset(row: number, young: boolean): void {
    this.group[row] = ungrouped;
    this.flags[row] = young ? RowFlag.young : 0;
    this.counted.fill(0, row * processCounterCount, (row + 1) * processCounterCount);
    this.based[row] = 0;
    this.execMark[row] = 0;
    this.cmdlineHash[row] = 0;
    this.proportionalResident[row] = 0;
    this.proportionalSwapped[row] = 0;
  }
}

/** FNV-1a over the words of a command line; only to see that it changed. */
export function hashWords(words: readonly string[]): number {
  let hash = 0x811c9dc5;
  for (const word of words) {
    for (let i = 0; i < word.length; i++) hash = Math.imul(hash ^ word.charCodeAt(i), 0x01000193);
    hash = Math.imul(hash ^ 0x1f, 0x01000193);
  }
  return hash;
}
