import { GoroutineReader } from "./goroutine-reader.ts";
import { GoroutineTable, goroutineStatus } from "./goroutine-table.ts";
import type { GoRuntime } from "./runtime.ts";

const batch = 4096;

/** How many goroutines there are, those of the runtime included, dead ones not. Throws as GoroutineReader does. */
export function countGoroutines(runtime: GoRuntime): number {
  const reader = new GoroutineReader(runtime);
  const addresses = reader.addresses();
  const table = new GoroutineTable(reader.layout, Math.min(batch, addresses.length));
  let count = 0;
  for (let first = 0; first < addresses.length; first += batch) {
    const rows = Math.min(batch, addresses.length - first);
    reader.load(table, addresses, first, rows);
    for (let row = 0; row < rows; row++) if (!table.gone(row) && table.state(row) !== goroutineStatus.idle) count++;
  }
  return count;
}
