/** Runs the command line tool as a user does: in a process of its own. */
import { type SpawnOptions, spawn } from "node:child_process";
import { join } from "node:path";
import { packageRoot } from "../../src/base/package-root.ts";

export const cliPath = join(packageRoot, "dist/bin/procscope.cjs");

export interface CliResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly milliseconds: number;
}

export interface CliOptions {
  /** What runs it: ["setpriv", "--reuid", …]; it is run by itself where absent. */
  readonly by?: readonly string[];
  readonly env?: Record<string, string>;
  /** It is killed after so many milliseconds, and the result's signal is SIGKILL: it hung. */
  readonly timeout?: number;
  readonly cwd?: string;
}

/** Runs `procscope ARGS` to its end. */
export async function procscope(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const [command, ...rest] = [...(options.by ?? []), process.execPath, cliPath, ...args];
  const began = performance.now();
  const settings: SpawnOptions = {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...options.env },
    cwd: options.cwd ?? packageRoot,
  };
  const child = spawn(command!, rest, settings);
  const late = setTimeout(() => child.kill("SIGKILL"), options.timeout ?? 60_000);
  const chunks: { out: Buffer[]; err: Buffer[] } = { out: [], err: [] };
  child.stdout?.on("data", (data: Buffer) => chunks.out.push(data));
  child.stderr?.on("data", (data: Buffer) => chunks.err.push(data));
  const [status, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (...ended) => resolve(ended));
  });
  clearTimeout(late);
  return {
    status,
    signal,
    stdout: Buffer.concat(chunks.out).toString("utf8"),
    stderr: Buffer.concat(chunks.err).toString("utf8"),
    milliseconds: performance.now() - began,
  };
}
