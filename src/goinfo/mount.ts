/** Mounting the tree over Go processes from outside. */
import type { Pid } from "../base/units.ts";
import type { MountMethod } from "../kernel/fuse-mount.ts";
import { FuseServer, type FuseServerOptions } from "../kernel/fuse-server.ts";
import { FuseSupervisor } from "../kernel/fuse-supervisor.ts";
import { GoProcessEntry } from "./go-processes.ts";
import type { GoTarget, GoTreeOptions } from "./go-tree.ts";
import { LiveView } from "./live-view.ts";

export interface MountOptions {
  readonly directory: string;
  /** The process whose folder the mount is; absent, the mount has a folder for each Go process. */
  readonly pid?: Pid;
  /** Permission bits of files (0400). */
  readonly mode?: number;
  /** For how long a file's text is kept, in seconds; 0, the usual, makes it anew at each read. */
  readonly ttl?: number;
  /** Keep the mount alive when its server is killed. */
  readonly supervise?: boolean;
  readonly method?: MountMethod;
  readonly log: (message: string) => void;
}

/** Mounts and serves until stopped. Throws where it cannot be mounted, NO_PROCESS, UNSUPPORTED_TARGET. */
export async function mountGo(options: MountOptions): Promise<FuseServer | FuseSupervisor> {
  const treeOptions: GoTreeOptions = {
    mode: options.mode ?? 0o400,
    ttl: options.ttl ?? 0,
    ...(options.pid === undefined ? {} : { target: targetOf(options.pid) }),
  };
  const serverOptions: FuseServerOptions = {
    directory: options.directory,
    tree: { module: new URL("./go-tree-module.js", import.meta.url).href, options: treeOptions },
    method: options.method,
    log: options.log,
  };
  return options.supervise ? FuseSupervisor.start(serverOptions) : FuseServer.start(serverOptions);
}

/** Names the process for good. Looks into it once, so that what cannot be read is said before anything is mounted. */
function targetOf(pid: Pid): GoTarget {
  const entry = new GoProcessEntry(pid, (known) => new LiveView(known));
  try {
    entry.view();
    const { identity, uid, gid } = entry;
    return { identity, uid, gid };
  } finally {
    entry.close();
  }
}
