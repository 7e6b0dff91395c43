/**
 * The kernel function that a task waits in, read through procfs only where it can have changed: a task that was not
 * switched since it was last read still waits in the same place.
 */
import { ProcBuffer } from "../../kernel/proc-file.ts";
import { Field, type ProcessTable, type ThreadTable } from "./source.ts";

const stateRunning = 82; // R

export class WchanReader {
  readonly #mount: string;
  readonly #processes: ProcessTable;
  readonly #buffer = new ProcBuffer();
  /** Switches of the main thread, or of a thread, at the last read, plus 1; 0 is never read. */
  #processMarks = new Float64Array(0);
  #threadMarks = new Float64Array(0);

  constructor(mount: string, processes: ProcessTable) {
    this.#mount = mount;
    this.#processes = processes;
  }

  /** Reads the wchan column of the processes that were switched since. Counters must be set already. */
  readProcesses(): void {
    const { columns, count, live, id, born } = this.#processes;
    this.#processMarks = fitted(this.#processMarks, this.#processes.capacity);
    for (const row of born) this.#processMarks[row] = 0;
    for (let i = 0; i < count; i++) {
      const row = live[i]!;
      const mark = columns.voluntarySwitches[row]! + columns.nonvoluntarySwitches[row]! + 1;
      if (this.#processMarks[row] === mark) continue;
      this.#processMarks[row] = mark;
      const name = this.#read(`${this.#mount}/${id[row]}/wchan`, columns.state[row]!);
      if (name === undefined) {
        columns.valid[row]! &= ~Field.wchan;
        continue;
      }
      columns.valid[row]! |= Field.wchan;
      columns.changed[row] = 1;
      columns.wchan[row] = name;
    }
  }

  readThreads(threads: ThreadTable): void {
    const { columns, count, live, id, born } = threads;
    this.#threadMarks = fitted(this.#threadMarks, threads.capacity);
    for (const row of born) this.#threadMarks[row] = 0;
    for (let i = 0; i < count; i++) {
      const row = live[i]!;
      const mark = columns.voluntarySwitches[row]! + columns.nonvoluntarySwitches[row]! + 1;
      if (this.#threadMarks[row] === mark) continue;
      this.#threadMarks[row] = mark;
      const process = this.#processes.id[columns.process[row]!]!;
      columns.wchan[row] = this.#read(`${this.#mount}/${process}/task/${id[row]}/wchan`, columns.state[row]!) ?? 0;
    }
  }

  /** The interned name; 0 for a task that does not wait; undefined where the file could not be read. */
  #read(path: string, state: number): number | undefined {
    if (state === stateRunning) return 0;
    if (!this.#buffer.readOnce(path)) return undefined;
    const { data, length } = this.#buffer;
    // "0" stands for a task that runs, and for one that we may not look at.
    if (length === 0 || (length === 1 && data[0] === 48)) return 0;
    return this.#processes.intern(data.toString("latin1", 0, Math.min(length, 128)));
  }
}

function fitted(column: Float64Array<ArrayBuffer>, rows: number): Float64Array<ArrayBuffer> {
  if (column.length >= rows) return column;
  const larger = new Float64Array(rows);
  larger.set(column);
  return larger;
}
