/** What the serving threads load: the tree over Go processes, bound to how they are read. */
import { setPriority } from "node:os";
import { goProcessIds } from "../go/process-list.ts";
import type { CreateTree } from "../kernel/fuse-threads.ts";
import { GoTree, type GoTreeOptions } from "./go-tree.ts";
import { LiveView } from "./live-view.ts";

export const createTree: CreateTree = (options, context) => {
  // On Linux 0 is the calling thread alone. What takes long gives way to quick files where CPUs are short.
  if (context.thread === "back") setPriority(0, longFilesNice);
  return new GoTree(options as GoTreeOptions, {
    open: (pid) => new LiveView(pid),
    list: () => goProcessIds(),
    isGo: (pid) => goProcessIds().includes(pid),
  });
};

const longFilesNice = 10;
