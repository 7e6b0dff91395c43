/** What the serving threads load: the tree over Go processes, bound to how they are read. */
import { goProcessIds } from "../go/process-list.ts";
import type { CreateTree } from "../kernel/fuse-threads.ts";
import { GoTree, type GoTreeOptions } from "./go-tree.ts";
import { LiveView } from "./live-view.ts";

export const createTree: CreateTree = (options) =>
  new GoTree(options as GoTreeOptions, {
    open: (pid) => new LiveView(pid),
    list: () => goProcessIds(),
    isGo: (pid) => goProcessIds().includes(pid),
  });
