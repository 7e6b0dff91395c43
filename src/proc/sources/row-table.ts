/**
 * Rows of live tasks in columns. A task keeps its row from the scan that first saw it to the one that first missed it,
 * so whoever consumes the table keeps columns of its own beside it (what was counted before, which group) by the same
 * row numbers, and no object is made per task and scan.
 *
 * One scan is begin() … row() for each task … end(). Rows of tasks that were not seen are listed in `gone` and their
 * columns stay readable until the next begin(), which frees them.
 */

export type Column = Float64Array | Int32Array | Uint32Array | Uint8Array;
/** Columns by name. Replaced by larger ones when the table grows, so read them from the table anew in each scan. */
export type Columns<C> = { [K in keyof C]: Column };

const firstCapacity = 256;

export class RowTable<C extends Columns<C>> {
  readonly columns: C;
  /** How many rows the columns have room for. */
  capacity = firstCapacity;
  /** The id (pid or tid) of each row. */
  id: Int32Array = new Int32Array(firstCapacity);
  /**
   * Start in USER_HZ ticks after boot, as /proc/PID/stat has it: with the id it names a task for as long as the machine
   * runs. Sources that know it in nanoseconds divide by 10^7 and round down.
   */
  startTicks: Float64Array = new Float64Array(firstCapacity);
  /** The rows seen by the last scan, `count` of them, in the source's order. */
  live: Int32Array = new Int32Array(firstCapacity);
  count = 0;
  /** The rows that the last scan saw for the first time. */
  readonly born: number[] = [];
  /** The rows that the last scan missed for the first time. */
  readonly gone: number[] = [];
  /** Counts scans; `seen[row]` is the scan that last saw the row. */
  generation = 0;
  seen: Uint32Array = new Uint32Array(firstCapacity);

  /** Row of an id plus 1, 0 for none: an array over ids, because pids are small and dense and a Map costs ten times it. */
  private rowOfId: Int32Array = new Int32Array(32768);
  private free: number[] = [];
  private used = 0;
  /** Rows in use whether seen or not, to find those gone without looking at the free ones. */
  private previous: Int32Array = new Int32Array(firstCapacity);
  private previousCount = 0;

  /** `make` gives the columns for a number of rows. */
  constructor(make: (rows: number) => C) {
    this.columns = make(firstCapacity);
  }

  /** Sets a new row's columns to their start values: rows are reused. */
  protected clear(row: number): void {
    for (const name in this.columns) {
      const column = this.columns[name];
      const width = column.length / this.capacity;
      if (width === 1) column[row] = 0;
      else column.fill(0, row * width, (row + 1) * width);
    }
  }

  begin(): void {
    for (const row of this.gone) {
      if (this.rowOfId[this.id[row]!] === row + 1) this.rowOfId[this.id[row]!] = 0;
      this.free.push(row);
    }
    this.gone.length = 0;
    this.born.length = 0;
    [this.previous, this.live] = [this.live, this.previous];
    this.previousCount = this.count;
    this.count = 0;
    this.generation++;
  }

  /** The row of a task, made where it is new; marks it as seen. An id met twice in one scan gives the same row. */
  row(id: number, startTicks: number): number {
    if (id >= this.rowOfId.length) this.growIds(id);
    const known = this.rowOfId[id]! - 1;
    if (known >= 0 && this.startTicks[known] === startTicks) {
      if (this.seen[known] === this.generation) return known;
      return this.mark(known);
    }
    // New, or the id was given to another task: the old row then counts as gone, for nothing marks it any more.
    const row = this.free.pop() ?? this.used++;
    if (row >= this.capacity) this.grow();
    this.id[row] = id;
    this.startTicks[row] = startTicks;
    this.clear(row);
    this.rowOfId[id] = row + 1;
    this.born.push(row);
    return this.mark(row);
  }

  /** The row of an id that is in the table, whatever its start; -1 where there is none. Rows in `gone` are found too. */
  find(id: number): number {
    return id > 0 && id < this.rowOfId.length ? this.rowOfId[id]! - 1 : -1;
  }

  /** Marks a row as seen that the source knows to be the same task still. */
  mark(row: number): number {
    this.seen[row] = this.generation;
    this.live[this.count++] = row;
    return row;
  }

  /** Takes back that a row was seen in this scan: its task ended while it was read. Only for the row marked last. */
  unmark(row: number): void {
    if (this.live[this.count - 1] !== row) return;
    this.count--;
    this.seen[row] = this.generation - 1;
    if (this.born.at(-1) !== row) return;
    this.born.pop();
    this.rowOfId[this.id[row]!] = 0;
    this.free.push(row);
  }

  end(): void {
    const { previous, seen, generation } = this;
    for (let i = 0; i < this.previousCount; i++) {
      const row = previous[i]!;
      if (seen[row] !== generation) this.gone.push(row);
    }
  }

  /** Gives up a scan that failed half way: everything that lived before it still does. */
  abandon(): void {
    const { previous, seen, generation } = this;
    for (let i = 0; i < this.previousCount; i++) if (seen[previous[i]!] !== generation) this.mark(previous[i]!);
  }

  private growIds(id: number): void {
    const larger = new Int32Array(Math.max(id + 1, this.rowOfId.length * 2));
    larger.set(this.rowOfId);
    this.rowOfId = larger;
  }

  private grow(): void {
    this.capacity *= 2;
    this.id = grown(this.id);
    this.startTicks = grown(this.startTicks);
    this.live = grown(this.live);
    this.previous = grown(this.previous);
    this.seen = grown(this.seen);
    for (const name in this.columns) this.columns[name] = grown(this.columns[name]);
  }
}

/** A copy of a column of twice the length, of the same kind. */
export function grown<C extends Column>(column: C): C {
  const larger = new (column.constructor as new (length: number) => C)(column.length * 2);
  larger.set(column);
  return larger;
}
