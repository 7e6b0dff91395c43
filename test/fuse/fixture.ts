/** Starting and ending servers for the tests; whatever happens, nothing stays mounted. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { ServeOrder } from "./serve.ts";

/** Why FUSE tests cannot run here, or undefined. */
export const skipReason: string | false =
  process.geteuid?.() !== 0 ? "mounting needs root" : readableDevice() ? false : "there is no /dev/fuse";

function readableDevice(): boolean {
  try {
    readFileSync("/dev/fuse", { flag: "r+" });
    return true;
  } catch (error) {
    // A connection that is not mounted yet cannot be read: EPERM says that the device works.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** The parts of node:test's context that are used here. */
interface Context {
  after(done: () => unknown): void;
}

export class Served {
  readonly directory: string;
  readonly child: ChildProcess;
  output = "";

  constructor(directory: string, child: ChildProcess) {
    this.directory = directory;
    this.child = child;
    child.stdout?.on("data", (data) => {
      this.output += data;
    });
    child.stderr?.on("data", (data) => {
      this.output += data;
    });
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** Sends a line to the server's standard input. */
  tell(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  async says(pattern: RegExp, milliseconds = 60_000): Promise<RegExpMatchArray> {
    return eventually(() => this.output.match(pattern), `${pattern} in the output:\n${this.output}`, milliseconds);
  }

  /** The exit status or signal. */
  async exited(milliseconds = 60_000): Promise<number | string> {
    return eventually(
      () => this.child.signalCode ?? this.child.exitCode ?? undefined,
      "the end of the server",
      milliseconds,
    );
  }
}

/** What the folders of this process begin with. */
export const temporaryPrefix: string = `procscope-fuse-${process.pid}-`;

/** A folder that is gone, with whatever is mounted there, after the test. */
export function temporaryFolder(t: Context): string {
  const directory = mkdtempSync(join(tmpdir(), temporaryPrefix));
  t.after(() => {
    for (let i = 0; i < 5 && mountedUnder(directory).length > 0; i++) {
      for (const at of mountedUnder(directory)) spawnSync("umount", ["-f", "-l", at]);
    }
    rmSync(directory, { recursive: true, force: true });
  });
  return directory;
}

/** Starts a server in a process of its own and waits until it serves. */
export async function serve(
  t: Context,
  order: Partial<ServeOrder> = {},
  wrap: (words: string[]) => string[] = (words) => words,
): Promise<Served> {
  const directory = order.directory ?? join(temporaryFolder(t), "mount");
  const served = launch(t, { ...order, directory }, wrap);
  await served.says(/ready (\d+)/);
  return served;
}

/** Starts a server without waiting: for those that are to fail. */
export function launch(t: Context, order: ServeOrder, wrap: (words: string[]) => string[] = (words) => words): Served {
  const program = fileURLToPath(new URL("./serve.js", import.meta.url));
  const [command, ...words] = wrap([process.execPath, program, JSON.stringify(order)]);
  const child = spawn(command!, words, { stdio: ["pipe", "pipe", "pipe"] });
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    for (let i = 0; i < 50 && child.exitCode === null && child.signalCode === null; i++) await sleep(20);
    child.kill("SIGKILL");
  });
  return new Served(order.directory, child);
}

export function mountedUnder(directory: string): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((point) => point === directory || point.startsWith(`${directory}/`));
}

/** Waits for something to become true (not undefined, null or false). */
export async function eventually<T>(
  look: () => T | undefined | null | false,
  what: string,
  milliseconds = 60_000,
): Promise<T> {
  const end = performance.now() + milliseconds;
  for (;;) {
    const found = look();
    if (found !== undefined && found !== null && found !== false) return found;
    if (performance.now() > end) throw new Error(`did not happen in ${milliseconds} ms: ${what}`);
    await sleep(10);
  }
}

/** Runs a shell line with $D as the mounted folder; returns its output, error output and status. */
export function shell(served: Served, line: string): { out: string; err: string; status: number | null } {
  const done = spawnSync("bash", ["-c", line], {
    env: { ...process.env, D: served.directory, LC_ALL: "C" },
    encoding: "utf8",
    timeout: 30_000,
    maxBuffer: 64 * 2 ** 20,
  });
  return { out: done.stdout, err: done.stderr, status: done.status };
}
