/**
 * A tiny process that takes a mount down when its server was killed in a way that it cannot see coming (SIGKILL, the
 * OOM killer). It waits at a pipe from us; the pipe's end without the word "done" means that we are gone.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { FuseMount } from "./fuse-mount.ts";

const script = `
if read -r word && [ "$word" = done ]; then exit 0; fi
ours=
while read -r id rest; do
  case "$rest" in *" - fuse.procscope "*) [ "$id" = "$1" ] && ours=yes ;; esac
done < /proc/self/mountinfo
[ -n "$ours" ] || exit 0
umount -i -f -l "$2" 2>/dev/null || umount -l "$2" 2>/dev/null || fusermount3 -u -z -- "$2" 2>/dev/null
`;

export class MountWatcher {
  private readonly child: ChildProcess;

  /** Does not keep our event loop alive. Where there is no shell the mount goes unwatched, and `log` says so. */
  constructor(mount: FuseMount, log: (message: string) => void) {
    this.child = spawn("/bin/sh", ["-c", script, "procscope-watcher", String(mount.entry.id), mount.directory], {
      detached: true,
      cwd: "/",
      stdio: ["pipe", "ignore", "ignore"],
    });
    this.child.on("error", (error) => {
      log(`no watcher over ${mount.directory}, it would stay behind if this process were killed: ${error.message}`);
    });
    this.child.stdin?.on("error", () => {});
    this.child.unref();
    if (this.child.stdin && "unref" in this.child.stdin) (this.child.stdin as { unref(): void }).unref();
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** The mount has been taken down: nothing to watch any more. */
  dismiss(): void {
    this.child.stdin?.end("done\n");
  }
}
