/** A tree with one of everything, for the tests: the module that the serving threads load. */
import { setTimeout as sleep } from "node:timers/promises";
import { ffiAvailable } from "../../src/kernel/ffi.ts";
import { FixedTree } from "../../src/kernel/fuse-fixed-tree.ts";
import { opcode } from "../../src/kernel/fuse-protocol.ts";
import type { CreateTree, ServedTree } from "../../src/kernel/fuse-threads.ts";

export const bigFile = Buffer.alloc(2 ** 20, "abcdefghijklmnopqrstuvwxyz");

export interface DemoOptions {
  /** A folder `many` with so many files. */
  readonly many?: number;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

export const createTree: CreateTree = (options) => {
  const { many = 100, mode = 0o444, uid = 0, gid = 0 } = (options ?? {}) as DemoOptions;
  const tree = new FixedTree({ mode, uid, gid }) as FixedTree & ServedTree;
  const elsewhere = new Set<number>();
  const started = process.hrtime.bigint();

  tree.file("mem/heap", () => `1 2 3 4 5 ${process.hrtime.bigint() - started}\n`);
  tree.file("mem/empty", () => "");
  tree.file("big", () => bigFile);
  // Two halves that must be equal in every snapshot, longer than one read of any program.
  tree.file("halves", () => {
    const half = `${process.hrtime.bigint()}\n`.repeat(20_000);
    return half + half;
  });
  tree.file("fails", () => {
    throw new Error("the reason why this file fails");
  });
  tree.file("native", () => `${ffiAvailable().available}\n`);
  tree.file("pid", () => `${process.pid}\n`);
  elsewhere.add(tree.file("late/async", async () => `async ${await sleep(1, "done")}\n`).id);
  elsewhere.add(tree.file("late/slow", (signal) => sleep(3000, "slow\n", { signal })).id);
  elsewhere.add(tree.file("late/pieces", pieces).id);
  elsewhere.add(tree.file("late/endless", endless).id);
  elsewhere.add(
    tree.file("late/busy", () => {
      const end = Date.now() + 1000;
      while (Date.now() < end);
      return "busy\n";
    }).id,
  );
  tree.file("die-once", () => {
    if (process.env["FIRST_SERVER"] === "yes") {
      process.kill(process.pid, "SIGKILL");
      for (;;);
    }
    return `survived in ${process.pid}\n`;
  });
  for (let i = 0; i < many; i++) tree.file(`many/f${i}`, () => `file ${i}\n`);
  tree.elsewhere = (op, id) => (op === opcode.read || op === opcode.release) && elsewhere.has(id);
  return tree;
};

function* pieces(): Iterable<string> {
  for (let i = 0; i < 100_000; i++) yield `piece ${i}\n`;
}

function* endless(): Iterable<string> {
  for (let i = 0; ; i++) yield `line ${i} of a file without an end\n`;
}
