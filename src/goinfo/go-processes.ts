/** The Go processes that a mount shows: who they belong to, whether they are still there, and the view into each. */
import { readlinkSync, statSync } from "node:fs";
import { basename } from "node:path";
import { errnoOf } from "../base/errors.ts";
import type { Pid } from "../base/units.ts";
import type { FuseNode } from "../kernel/fuse-tree.ts";
import type { GoView, OpenGoView } from "./go-view.ts";
import { gone, ProcessPulse } from "./process-pulse.ts";

/** Views into so many processes are kept; each may hold megabytes of tables of its program. */
const viewLimit = 64;

/** One use of a file is several requests: they share one look, which costs the kernel more than the rest of a request. */
const freshMilliseconds = 0.5;

/** One process for as long as it runs, through any number of programs. */
export class GoProcessEntry {
  readonly pid: Pid;
  /** Who may read: the owner of /proc/PID, which is root for a process that may not be dumped. */
  uid = 0;
  gid = 0;
  /** The folder's name where there are several. */
  name: string;
  readonly startedAt: number;
  /** Texts of files by the number of the file, for mounts that keep them a while. */
  readonly kept = new Map<number, { readonly text: string | Uint8Array; readonly until: number }>();
  /** The nodes that stand for it, by the number of their place. */
  readonly nodes: FuseNode[] = [];
  lastUse = 0;
  /** Whether what it runs is a Go program; undefined until somebody has looked. */
  isGo: boolean | undefined;
  /** Names the process, not only its pid; below 2^42. */
  readonly identity: number;
  private checkedAt = Number.NEGATIVE_INFINITY;
  private ownerReadAt = Number.NEGATIVE_INFINITY;
  private readonly pulse: ProcessPulse;
  private readonly open: OpenGoView;
  private beat: number;
  private opened: GoView | Promise<GoView> | undefined;

  constructor(pid: Pid, open: OpenGoView) {
    this.pid = pid;
    this.open = open;
    this.pulse = new ProcessPulse(pid);
    this.identity = identityOf(pid, this.pulse.startTicks);
    this.beat = this.pulse.beat();
    this.name = folderName(pid);
    this.startedAt = statSync(`/proc/${pid}`).mtimeMs / 1000;
    this.readOwner();
  }

  /** Looks again whether it is there, and whether it runs another program now. Throws NO_PROCESS. */
  check(): void {
    const now = performance.now();
    if (now - this.checkedAt < freshMilliseconds) return;
    const beat = this.pulse.beat();
    this.checkedAt = now;
    if (beat === this.beat) return;
    this.beat = beat;
    this.isGo = undefined;
    this.closeView();
    this.name = folderName(this.pid);
  }

  /** Whose it is may change while it runs: daemons give up root. Throws NO_PROCESS. */
  readOwner(): void {
    const now = performance.now();
    if (now - this.ownerReadAt < freshMilliseconds) return;
    this.ownerReadAt = now;
    try {
      const owner = statSync(`/proc/${this.pid}`);
      this.uid = owner.uid;
      this.gid = owner.gid;
    } catch (error) {
      if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ESRCH") throw gone(this.pid);
      throw error;
    }
  }

  /** The view into the program that runs now; opened at the first use and again after an execve. */
  view(): GoView | Promise<GoView> {
    this.check();
    if (this.opened !== undefined) return this.opened;
    const opened = this.open(this.pid);
    this.opened = opened;
    if (opened instanceof Promise) {
      opened.then(
        (view) => {
          if (this.opened === opened) this.opened = view;
          else view.close();
        },
        () => {
          if (this.opened === opened) this.opened = undefined;
        },
      );
    }
    return opened;
  }

  get hasView(): boolean {
    return this.opened !== undefined;
  }

  closeView(): void {
    // A view that is still being opened is closed when it comes.
    if (this.opened !== undefined && !(this.opened instanceof Promise)) this.opened.close();
    this.opened = undefined;
    this.kept.clear();
  }

  close(): void {
    this.closeView();
    this.pulse.close();
  }
}

export class GoProcesses {
  private readonly entries = new Map<Pid, GoProcessEntry>();
  private readonly open: OpenGoView;
  private clock = 0;

  constructor(open: OpenGoView) {
    this.open = open;
  }

  /** The process of that pid, checked to be there. Throws NO_PROCESS. */
  get(pid: Pid): GoProcessEntry {
    let entry = this.entries.get(pid);
    if (entry === undefined) {
      entry = new GoProcessEntry(pid, this.open);
      this.entries.set(pid, entry);
      this.trim();
    } else {
      try {
        entry.check();
      } catch (error) {
        this.forget(entry);
        throw error;
      }
    }
    entry.lastUse = ++this.clock;
    return entry;
  }

  /** The very process that has been shown before. Throws NO_PROCESS where another has its pid now. */
  same(identity: number): GoProcessEntry {
    const entry = this.get(pidOf(identity));
    if (entry.identity !== identity) throw gone(entry.pid);
    return entry;
  }

  /** Keeps only these. */
  keepOnly(pids: ReadonlySet<Pid>): void {
    for (const entry of [...this.entries.values()]) if (!pids.has(entry.pid)) this.forget(entry);
    this.trim();
  }

  /** Keeps only the views used last. */
  private trim(): void {
    const viewed = [...this.entries.values()].filter((entry) => entry.hasView);
    viewed.sort((a, b) => b.lastUse - a.lastUse);
    for (const entry of viewed.slice(viewLimit)) entry.closeView();
  }

  private forget(entry: GoProcessEntry): void {
    this.entries.delete(entry.pid);
    entry.close();
  }
}

const pidRoom = 2 ** 22;
const ticksRoom = 2 ** 20;

/** One number for a process: its pid and the low bits of its start, 2.9 hours of ticks, so that a pid given anew differs. */
export function identityOf(pid: Pid, startTicks: number): number {
  return (startTicks % ticksRoom) * pidRoom + pid;
}

export function pidOf(identity: number): Pid {
  return identity % pidRoom;
}

/** The pid and the program's file name. */
function folderName(pid: Pid): string {
  try {
    const path = readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, "");
    return `${pid}-${basename(path).slice(0, 64) || "unknown"}`;
  } catch {
    return `${pid}-unknown`;
  }
}
