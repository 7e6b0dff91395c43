/** The Go programs of targets/: built once for a version and mode, started, asked, ended. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { packageRoot } from "../../src/base/package-root.ts";
import { buildEnvironment, cacheFolder, currentGo, goRoot } from "./go-toolchain.ts";

/** How a target is built. */
export const modes = {
  plain: { cgo: false, flags: [] },
  strip: { cgo: false, flags: ["-ldflags=-s -w"] },
  pie: { cgo: false, flags: ["-buildmode=pie"] },
  "pie-strip": { cgo: false, flags: ["-buildmode=pie", "-ldflags=-s -w"] },
  cgo: { cgo: true, flags: [] },
  "cgo-pie-strip": { cgo: true, flags: ["-buildmode=pie", "-ldflags=-s -w"] },
} as const;

export type Mode = keyof typeof modes;
export const allModes = Object.keys(modes) as Mode[];

/** A program below targets/. */
export type TargetName = "goroutines" | "http" | "busy" | "leak" | "waits";

/** The path of the built program; builds it where there is none for this source, version and mode yet. */
export async function build(
  version: string = currentGo,
  mode: Mode = "plain",
  name: TargetName = "goroutines",
): Promise<string> {
  const source = join(packageRoot, "targets", name);
  const files = readdirSync(source).filter((file) => file.endsWith(".go"));
  const key = createHash("sha256");
  for (const file of files) key.update(file).update(readFileSync(join(source, file)));
  const folder = join(cacheFolder, "targets");
  const path = join(folder, `${name}-go${version}-${mode}-${key.digest("hex").slice(0, 12)}`);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, "build-"));
  try {
    for (const file of files) copyFileSync(join(source, file), join(work, file));
    // The go line decides the GODEBUG defaults that are built in, so it is the version's own.
    writeFileSync(
      join(work, "go.mod"),
      `module procscope.test/${name}\n\ngo ${version.split(".").slice(0, 2).join(".")}\n`,
    );
    await compile(version, mode, work, join(work, "program"));
    renameSync(join(work, "program"), path);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return path;
}

async function compile(version: string, mode: Mode, cwd: string, output: string): Promise<void> {
  const root = goRoot(version);
  const { cgo, flags } = modes[mode];
  await promisify(execFile)(join(root, "bin/go"), ["build", "-o", output, ...flags, "."], {
    cwd,
    env: { ...process.env, ...buildEnvironment(root), CGO_ENABLED: cgo ? "1" : "0" },
  });
}

/** Milliseconds between two pieces of an answer: a machine may be busy with other things, a test must end. */
const longestAnswer = 120_000;

/** A running target that answers requests: see targets/goroutines/main.go. */
export class GoTarget {
  readonly process: ChildProcess;
  readonly pid: number;
  private received: Buffer = Buffer.alloc(0);
  private wake: (() => void) | undefined;
  private ended = false;

  /** Starts a built program, or `command` that starts it in its turn (unshare, setpriv), and waits until it answers. */
  static async start(
    path: string,
    options: { env?: Record<string, string>; command?: readonly string[] } = {},
  ): Promise<GoTarget> {
    const [command, ...args] = [...(options.command ?? []), path];
    const target = new GoTarget(
      spawn(command!, args, { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, ...options.env } }),
    );
    try {
      await target.next("ready");
    } catch (error) {
      await target.end();
      throw error;
    }
    return target;
  }

  private constructor(child: ChildProcess) {
    this.process = child;
    this.pid = child.pid ?? -1;
    child.stdout!.on("data", (data: Buffer) => {
      this.received = this.received.length === 0 ? data : Buffer.concat([this.received, data]);
      this.wake?.();
    });
    const gone = (): void => {
      this.ended = true;
      this.wake?.();
    };
    child.on("exit", gone);
    child.on("error", gone);
    child.stdin!.on("error", () => {});
    live.add(this);
  }

  /** Sends one request and returns the bytes of its answer. */
  async ask(request: string): Promise<Buffer> {
    this.process.stdin!.write(`${request}\n`);
    return this.next(request.split(" ")[0]!);
  }

  /** All goroutines as the process itself prints them. */
  async stacks(): Promise<string> {
    return (await this.ask("stack")).toString("utf8");
  }

  private async next(name: string): Promise<Buffer> {
    for (;;) {
      const line = this.received.indexOf(10);
      if (line >= 0) {
        const [word, length] = this.received.toString("latin1", 0, line).split(" ");
        const end = line + 1 + Number(length);
        if (word !== name || !Number.isInteger(end)) throw new Error(`target answered ${word} to ${name}`);
        if (this.received.length >= end) {
          const body = this.received.subarray(line + 1, end);
          this.received = this.received.subarray(end);
          return body;
        }
      }
      if (this.ended) throw new Error(`target ${this.pid} ended before it answered ${name}`);
      await new Promise<void>((resolve, reject) => {
        const late = setTimeout(
          () => reject(new Error(`target ${this.pid} did not answer ${name} in ${longestAnswer / 1000} s`)),
          longestAnswer,
        );
        this.wake = () => {
          clearTimeout(late);
          resolve();
        };
      });
      this.wake = undefined;
    }
  }

  /** Ends the target; safe at any time and more than once. */
  async end(): Promise<void> {
    live.delete(this);
    await endChild(this.process);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

const live = new Set<GoTarget>();
// A test file that dies in the middle leaves nothing behind either: targets also end when their standard input does.
process.on("exit", () => {
  for (const target of live) target.process.kill("SIGKILL");
});

/** Kills a process that a test started, and waits until it is gone. */
export async function endChild(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

/** The HTTP target (targets/http): with net/http/pprof, on loopback. */
export async function startHttp(path: string): Promise<{ pid: number; url: string; end(): Promise<void> }> {
  const child = spawn(path, { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin!.on("error", () => {});
  let text = "";
  for await (const chunk of child.stdout!.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
    text += chunk;
    const address = /^listening (\S+)\n/.exec(text)?.[1];
    if (address) return { pid: child.pid!, url: `http://${address}`, end: () => endChild(child) };
  }
  await endChild(child);
  throw new Error(`the HTTP target ended at once: ${text}`);
}
