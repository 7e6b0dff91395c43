/** One mount with its threads and its watcher: from an empty folder to served files, and back. */
import { closeSync } from "node:fs";
import {
  chooseMethod,
  type FuseMount,
  type MountMethod,
  mountFuse,
  prepareMountPoint,
  unmountFuse,
} from "./fuse-mount.ts";
import { FuseThreads, type ThreadLimits, type TreeSource } from "./fuse-threads.ts";
import { MountWatcher } from "./fuse-watcher.ts";

export interface FuseServerOptions {
  /** Created where it is missing. */
  readonly directory: string;
  readonly tree: TreeSource;
  readonly limits?: Partial<ThreadLimits>;
  readonly method?: MountMethod | undefined;
  /** Where reasons of failed reads go. */
  readonly log: (message: string) => void;
}

export class FuseServer {
  readonly mount: FuseMount;
  /** Resolves when the mount is gone, by us or by umount(8); rejects where a serving thread died. */
  readonly ended: Promise<void>;
  private readonly threads: FuseThreads;
  private readonly watcher: MountWatcher;
  private stopped = false;

  private constructor(mount: FuseMount, threads: FuseThreads, watcher: MountWatcher) {
    this.mount = mount;
    this.threads = threads;
    this.watcher = watcher;
    this.ended = threads.ended.finally(() => this.finish());
    this.ended.catch(() => {});
    live.add(this);
    listenForExit();
  }

  /** Mounts and serves; resolves when the first request can be answered. */
  static async start(options: FuseServerOptions): Promise<FuseServer> {
    const mount = mountFuse(prepareMountPoint(options.directory), options.method ?? chooseMethod());
    const watcher = new MountWatcher(mount, options.log);
    try {
      const threads = await FuseThreads.start({
        fd: mount.fd,
        tree: options.tree,
        ...(options.limits === undefined ? {} : { limits: options.limits }),
        log: options.log,
      });
      return new FuseServer(mount, threads, watcher);
    } catch (error) {
      unmountFuse(mount);
      closeSync(mount.fd);
      watcher.dismiss();
      throw error;
    }
  }

  get directory(): string {
    return this.mount.directory;
  }

  /** The server no longer keeps the event loop alive; the mount is taken down at exit. */
  unref(): void {
    this.threads.unref();
  }

  held(): ReturnType<FuseThreads["held"]> {
    return this.threads.held();
  }

  /** Unmounts and waits for the threads' end. Readers in flight get an error. */
  async stop(): Promise<void> {
    this.stopNow();
    await this.ended.catch(() => {});
  }

  /** Unmounts at once, without waiting: for the end of the process. */
  stopNow(): void {
    if (this.stopped) return;
    this.stopped = true;
    live.delete(this);
    if (this.mount.method === "fusermount") this.threads.wakeAndEnd(this.directory);
    unmountFuse(this.mount);
    this.watcher.dismiss();
  }

  private async finish(): Promise<void> {
    this.stopNow();
    await this.threads.terminate();
    // Only now: a descriptor's number may be given to another file at once.
    closeSync(this.mount.fd);
  }
}

/** A blocked thread keeps a process from ending until its mount is gone, so an exit takes all mounts down first. */
const live = new Set<FuseServer>();
let listening = false;

function listenForExit(): void {
  if (listening) return;
  listening = true;
  process.on("exit", () => {
    for (const server of [...live]) server.stopNow();
  });
}
