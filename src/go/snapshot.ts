/** All goroutines of a process at (about) one moment, in columns, with their stacks in a tree. */
import type { Nanoseconds } from "../base/units.ts";
import type { GoroutineReader, GoroutineVisitor } from "./goroutine-reader.ts";
import { GoroutineTable } from "./goroutine-table.ts";
import { mostNodes, StackTree } from "./stack-tree.ts";

/** What stands for the stack of a goroutine that has none in {@link GoroutineSnapshot.nodes}. */
export const noStack = { notRead: -1, running: -2, inconsistent: -3 } as const;

export interface GoroutineSnapshot {
  readonly reader: GoroutineReader;
  /** What its nodes belong to. */
  readonly tree: StackTree;
  readonly table: GoroutineTable;
  /** The rows of the table that are goroutines, in the runtime's order. */
  readonly rows: Int32Array;
  /** By row of the table: the node of the stack in the reader's tree, or one of {@link noStack}. */
  readonly nodes: Int32Array;
  /** CLOCK_MONOTONIC, by which waits are measured. */
  readonly now: Nanoseconds;
  /** Milliseconds since the epoch. */
  readonly takenAt: number;
}

const loadRows = 8192;

/** CLOCK_MONOTONIC, which runtime.nanotime reads. */
export function monotonicNow(): Nanoseconds {
  return Number(process.hrtime.bigint());
}

/**
 * Reads all goroutines; stacks only where asked for. The target runs on: goroutines that began after the list was read
 * are not there. Snapshots of one reader share what is known of code and stacks, so the next one costs less.
 */
export function takeSnapshot(reader: GoroutineReader, options: { readonly stacks: boolean }): GoroutineSnapshot {
  if (reader.tree.size > mostNodes / 2) reader.tree = new StackTree(reader.code);
  const addresses = reader.addresses();
  const count = addresses.length;
  const table = new GoroutineTable(reader.layout, count);
  const nodes = new Int32Array(count).fill(noStack.notRead);
  const now = monotonicNow();
  const takenAt = Date.now();
  if (options.stacks) reader.read(table, addresses, 0, count, 0, new NodeVisitor(nodes), true);
  else
    for (let first = 0; first < count; first += loadRows)
      reader.load(table, addresses, first, Math.min(loadRows, count - first), first);
  reader.checkSameProgram(addresses);
  return { reader, tree: reader.tree, table, rows: liveRows(table), nodes, now, takenAt };
}

function liveRows(table: GoroutineTable): Int32Array {
  let count = 0;
  for (let row = 0; row < table.capacity; row++) if (!table.gone(row)) count++;
  const rows = new Int32Array(count);
  let next = 0;
  for (let row = 0; row < table.capacity; row++) if (!table.gone(row)) rows[next++] = row;
  return rows;
}

class NodeVisitor implements GoroutineVisitor {
  private readonly nodes: Int32Array;

  constructor(nodes: Int32Array) {
    this.nodes = nodes;
  }

  wants(): boolean {
    return true;
  }

  stack(row: number, node: number): void {
    this.nodes[row] = node;
  }

  noStack(row: number, why: "running" | "inconsistent"): void {
    this.nodes[row] = noStack[why];
  }
}
