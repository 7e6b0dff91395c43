/** The files that bench/fuse.ts reads; bench/fuse-peer.go.txt serves the same. */
import { FixedTree } from "../src/kernel/fuse-fixed-tree.ts";
import type { CreateTree } from "../src/kernel/fuse-threads.ts";

export const createTree: CreateTree = () => {
  const tree = new FixedTree();
  const start = process.hrtime.bigint();
  const big = Buffer.alloc(2 ** 20, "abcdefghijklmnopqrstuvwxyz");
  tree.file("mem/heap", () => `${1} ${2} ${3} ${4} ${5} ${process.hrtime.bigint() - start}\n`);
  tree.file("mem/big", () => big);
  for (let i = 0; i < 100; i++) {
    const text = Buffer.from(`file ${i}\n`);
    tree.file(`many/f${i}`, () => text);
  }
  return tree;
};
