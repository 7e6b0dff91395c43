/**
 * A mount whose server may die without its readers noticing. The supervisor holds /dev/fuse and does nothing else; the
 * server is a child with that descriptor. When the child dies the next one asks the kernel to send again what was left
 * unanswered, so a read in flight only takes a little longer. Kernels before 6.9 cannot send again: there the mount is
 * taken down, readers get ENOTCONN, and it is mounted anew.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ProcscopeError } from "../base/errors.ts";
import type { InitInfo } from "./fuse-answers.ts";
import { chooseMethod, type FuseMount, mountFuse, prepareMountPoint, unmountFuse } from "./fuse-mount.ts";
import type { FuseServerOptions } from "./fuse-server.ts";
import type { ThreadLimits, TreeSource } from "./fuse-threads.ts";
import { MountWatcher } from "./fuse-watcher.ts";

/** What the child is told when it starts; its answers are {@link ChildReport}s. */
export interface ChildOrder {
  readonly fd: number;
  readonly tree: TreeSource;
  readonly limits: Partial<ThreadLimits>;
  readonly resend: boolean;
}

export type ChildReport =
  | { readonly kind: "ready" }
  | { readonly kind: "init"; readonly info: InitInfo }
  | { readonly kind: "log"; readonly message: string }
  | { readonly kind: "ended" };

/** A server that dies so often in so short a time will go on dying. */
const tooManyDeaths = 5;
const deathWindowMilliseconds = 10_000;

export class FuseSupervisor {
  readonly ended: Promise<void>;
  private readonly options: FuseServerOptions;
  private mount: FuseMount;
  private watcher: MountWatcher;
  private child: ChildProcess | undefined;
  private canResend = false;
  private stopped = false;
  private deaths: number[] = [];
  private finish!: (error?: Error) => void;

  private constructor(options: FuseServerOptions, mount: FuseMount) {
    this.options = options;
    this.mount = mount;
    this.watcher = new MountWatcher(mount, options.log);
    this.ended = new Promise((resolve, reject) => {
      this.finish = (error) => (error === undefined ? resolve() : reject(error));
    });
    this.ended.catch(() => {});
    process.on("exit", this.stopNow);
  }

  static async start(options: FuseServerOptions): Promise<FuseSupervisor> {
    const supervisor = new FuseSupervisor(options, mountNow(options));
    try {
      await supervisor.serve(false);
    } catch (error) {
      supervisor.stopNow();
      throw error;
    }
    return supervisor;
  }

  get directory(): string {
    return this.mount.directory;
  }

  /** The process that serves at the moment. */
  get serverPid(): number | undefined {
    return this.child?.pid;
  }

  async stop(): Promise<void> {
    this.stopNow();
    await this.ended.catch(() => {});
  }

  readonly stopNow = (): void => {
    if (this.stopped) return;
    this.stopped = true;
    process.off("exit", this.stopNow);
    unmountFuse(this.mount);
    this.watcher.dismiss();
    closeSync(this.mount.fd);
    this.child?.kill("SIGTERM");
    this.finish();
  };

  /** Starts a child; resolves when it answers requests, and on a new mount when it is known whether these can be resent. */
  private serve(resend: boolean): Promise<void> {
    const program = fileURLToPath(new URL("./fuse-child.js", import.meta.url));
    const child = spawn(process.execPath, [program], {
      stdio: ["ignore", "inherit", "inherit", this.mount.fd, "ipc"],
    });
    this.child = child;
    const order: ChildOrder = { fd: 3, tree: this.options.tree, limits: this.options.limits ?? {}, resend };
    child.send(order);
    return new Promise((resolve, reject) => {
      child.on("error", reject);
      let awaited = resend ? 1 : 2;
      const one = (): void => {
        if (--awaited === 0) resolve();
      };
      child.on("message", (report: ChildReport) => {
        if (report.kind === "ready") one();
        else if (report.kind === "log") this.options.log(report.message);
        else if (report.kind === "init") {
          this.canResend = report.info.resend;
          one();
        } else if (report.kind === "ended") this.stopNow();
      });
      child.on("exit", (code, signal) => {
        reject(new ProcscopeError("IO", `the server ended: ${signal ?? `status ${code}`}`));
        if (child === this.child) this.died(signal ?? `status ${code}`);
      });
    });
  }

  private died(how: string): void {
    if (this.stopped) return;
    const now = Date.now();
    this.deaths = [...this.deaths.filter((time) => now - time < deathWindowMilliseconds), now];
    if (this.deaths.length > tooManyDeaths) {
      const error = new ProcscopeError("IO", `the server died ${this.deaths.length} times, at last of ${how}`);
      this.finish(error);
      this.stopNow();
      return;
    }
    this.options.log(`the server died (${how}) and is started again`);
    if (!this.canResend) this.mountAnew();
    // The death of this one too, even before it is ready, comes to its exit listener.
    if (!this.stopped) this.serve(this.canResend).catch(() => {});
  }

  private mountAnew(): void {
    try {
      unmountFuse(this.mount);
      closeSync(this.mount.fd);
      this.watcher.dismiss();
      this.mount = mountNow(this.options);
      this.watcher = new MountWatcher(this.mount, this.options.log);
    } catch (error) {
      this.stopped = true;
      this.finish(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

function mountNow(options: FuseServerOptions): FuseMount {
  return mountFuse(prepareMountPoint(options.directory), options.method ?? chooseMethod());
}
