/**
 * The threads that serve one mount. The front thread blocks on /dev/fuse and answers all that is quick. What its tree
 * hands on ({@link ServedTree.elsewhere}) goes as it came to the back thread, which runs an event loop, may wait for
 * promises, is interrupted by the reader's Ctrl-C, and writes its answers to the same descriptor: nothing that takes
 * long there holds up the front.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { MessageChannel, type Transferable, Worker } from "node:worker_threads";
import type { Bytes } from "../base/units.ts";
import type { InitInfo } from "./fuse-answers.ts";
import type { FuseTree } from "./fuse-tree.ts";

export interface ServedTree extends FuseTree {
  /** Whether the back thread answers requests of that opcode about that node; asked in the front thread only. */
  elsewhere?(op: number, id: number): boolean;
}

/** Where a tree comes from. Each thread makes its own, so the numbers of nodes must be the same in both. */
export interface TreeSource {
  /** The URL of a module that exports `createTree` ({@link CreateTree}). */
  readonly module: string;
  /** Handed to it; must survive structured cloning. */
  readonly options?: unknown;
  /** The objects in `options` that are for the back thread alone, and are moved there. */
  readonly backPort?: Transferable;
}

export interface TreeContext {
  readonly thread: "front" | "back";
  readonly log: (message: string) => void;
  readonly port: unknown;
}

export type CreateTree = (options: unknown, context: TreeContext) => ServedTree | Promise<ServedTree>;

export interface ThreadLimits {
  readonly fileLimit: Bytes;
  readonly totalLimit: Bytes;
}

export const defaultLimits: ThreadLimits = { fileLimit: 256 * 2 ** 20, totalLimit: 1024 * 2 ** 20 };

export interface ThreadsOptions {
  readonly fd: number;
  readonly tree: TreeSource;
  readonly limits?: Partial<ThreadLimits>;
  readonly log: (message: string) => void;
  readonly onInit?: (info: InitInfo) => void;
  /** Ask for what a server before us left unanswered. */
  readonly resend?: boolean;
}

/** What a thread is started with. */
export interface ThreadData {
  readonly thread: "front" | "back";
  readonly fd: number;
  readonly tree: Omit<TreeSource, "backPort">;
  readonly limits: ThreadLimits;
  readonly generation: number;
  readonly resend: boolean;
  /** One word: not 0 when the front thread is to end after the next request. */
  readonly stop: SharedArrayBuffer;
  /** Requests from front to back. */
  readonly requests: unknown;
  readonly port: unknown;
}

export type ThreadMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "log"; readonly message: string }
  | { readonly kind: "init"; readonly info: InitInfo }
  | { readonly kind: "held"; readonly files: number; readonly bytes: Bytes; readonly waiting: number }
  | { readonly kind: "ended" };

export class FuseThreads {
  /** Resolves when the mount is gone; rejects where a thread died of an error. */
  readonly ended: Promise<void>;
  private readonly front: Worker;
  private readonly back: Worker;

  private readonly stop: Int32Array;

  private constructor(front: Worker, back: Worker, ended: Promise<void>, stop: SharedArrayBuffer) {
    this.front = front;
    this.back = back;
    this.ended = ended;
    this.stop = new Int32Array(stop);
  }

  /** Starts both threads; resolves when requests are being answered. */
  static async start(options: ThreadsOptions): Promise<FuseThreads> {
    const channel = new MessageChannel();
    const shared = {
      fd: options.fd,
      tree: { module: options.tree.module, options: options.tree.options },
      limits: { ...defaultLimits, ...options.limits },
      // Handles of a server that died must not be taken for ours.
      generation: Math.floor(Date.now() / 10) % 2 ** 20,
      stop: new SharedArrayBuffer(4),
    };
    const backPort = options.tree.backPort;
    const back = startThread(
      { ...shared, thread: "back", resend: false, requests: channel.port2, port: backPort },
      backPort === undefined ? [channel.port2] : [channel.port2, backPort],
    );
    let front: Worker;
    try {
      await ready(back, options);
      front = startThread(
        { ...shared, thread: "front", resend: options.resend ?? false, requests: channel.port1, port: undefined },
        [channel.port1],
      );
      await ready(front, options);
    } catch (error) {
      await back.terminate();
      throw error;
    }
    const ended = new Promise<void>((resolve, reject) => {
      front.on("message", (message: ThreadMessage) => message.kind === "ended" && resolve());
      for (const worker of [front, back]) {
        worker.on("error", reject);
        worker.on("exit", () => resolve());
      }
    });
    // Whoever wants to know asks; nobody asking is not an unhandled rejection.
    ended.catch(() => {});
    return new FuseThreads(front, back, ended, shared.stop);
  }

  /** The threads no longer keep the event loop alive. */
  unref(): void {
    this.front.unref();
    this.back.unref();
  }

  /** What the open files hold in the back thread; the front one cannot be asked, it blocks. */
  async held(): Promise<{ files: number; bytes: Bytes; waiting: number }> {
    return new Promise((resolve) => {
      const listen = (message: ThreadMessage): void => {
        if (message.kind !== "held") return;
        this.back.off("message", listen);
        resolve(message);
      };
      this.back.on("message", listen);
      this.back.postMessage("held");
    });
  }

  /**
   * Lets the front thread end while it still can be woken by a request: by looking up a name that is not there, which the
   * kernel never answers by itself. A helper's unmount only detaches, and a file that somebody keeps open would then keep
   * the thread waiting for ever. Another process looks, so that a server that hangs cannot hang its own end.
   */
  wakeAndEnd(directory: string): void {
    Atomics.store(this.stop, 0, 1);
    spawnSync("stat", [join(directory, ".procscope-ends")], { stdio: "ignore", timeout: 1000, killSignal: "SIGKILL" });
  }

  /** Ends the threads; the mount must have been taken down before, a thread in read(2) cannot be ended. */
  async terminate(): Promise<void> {
    await this.back.terminate();
    await this.front.terminate();
  }
}

function startThread(data: ThreadData, transferList: readonly Transferable[]): Worker {
  return new Worker(new URL("./fuse-thread.js", import.meta.url), {
    workerData: data,
    transferList: [...transferList],
    name: `procscope fuse ${data.thread}`,
  });
}

function ready(worker: Worker, options: ThreadsOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.on("message", (message: ThreadMessage) => {
      if (message.kind === "ready") resolve();
      else if (message.kind === "log") options.log(message.message);
      else if (message.kind === "init") options.onInit?.(message.info);
    });
    worker.once("error", reject);
    worker.once("exit", () => reject(new Error("the serving thread ended")));
  });
}
