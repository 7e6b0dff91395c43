import { Int32Column } from "../base/columns.ts";

/** Ids below this are looked up in an array, others in a map. */
const MAX_DENSE_ID = 1 << 22;

/** Ids of a file to ids of ours, -1 for none. Files number from 1 upwards, as a rule, but need not. */
export class IdMap {
  private readonly dense = new Int32Column(1024);
  private readonly sparse = new Map<number | bigint, number>();

  set(id: number | bigint, value: number): void {
    if (!isDense(id)) this.sparse.set(id, value);
    else {
      while (this.dense.length <= id) this.dense.push(-1);
      this.dense.data[id] = value;
    }
  }

  get(id: number | bigint): number {
    if (!isDense(id)) return this.sparse.get(id) ?? -1;
    return id < this.dense.length ? this.dense.data[id]! : -1;
  }
}

function isDense(id: number | bigint): id is number {
  return typeof id === "number" && id >= 0 && id < MAX_DENSE_ID && Number.isInteger(id);
}
