/** Builds the C programs of targets/ and runs programs as a user without rights, for the tests of this room. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/base/package-root.ts";

/** The path of a built C target; built where the source is newer. */
export function cTarget(name: string): string {
  const source = join(packageRoot, "targets", `${name}.c`);
  const folder = join(packageRoot, ".cache", "targets");
  const binary = join(folder, name);
  mkdirSync(folder, { recursive: true });
  if (!existsSync(binary) || statSync(binary).mtimeMs < statSync(source).mtimeMs) {
    execFileSync("gcc", ["-O1", "-g", "-fno-omit-frame-pointer", "-pthread", "-o", binary, source]);
  }
  return binary;
}

/** Starts a program that prints a line when it is ready, and waits for that line. End it with {@link endProcess}. */
export async function startReady(command: string, args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  child.stdout?.setEncoding("utf8");
  await Promise.race([once(child.stdout!, "data"), once(child, "exit")]);
  return child;
}

export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

/**
 * Runs an ES module's text in a Node process of user 65534 with only these capabilities ("bpf", "perfmon" …), none by
 * default; returns what it printed.
 */
export function runAsNobody(script: string, capabilities: readonly string[] = []): string {
  const kept = ["-all", ...capabilities.map((name) => `+${name}`)].join(",");
  const user = [
    "--reuid",
    "65534",
    "--regid",
    "65534",
    "--clear-groups",
    `--inh-caps=${kept}`,
    `--ambient-caps=${kept}`,
  ];
  return execFileSync("setpriv", [...user, process.execPath, ...ending, "--input-type=module", "-e", script], {
    encoding: "utf8",
    cwd: "/",
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 120_000,
  });
}

/** Words for Node that make a short script end surely (see letNodeEnd). */
export const ending: readonly string[] = ["--import", `file://${join(packageRoot, "dist/test/support/end.js")}`];

/** The URL of a compiled file of src/, for {@link runAsNobody}. */
export function compiled(path: string): string {
  return `file://${join(packageRoot, "dist/src", path)}`;
}

/** Whether the tests run as root, which most of what is tested here needs. */
export const isRoot = process.geteuid?.() === 0;
