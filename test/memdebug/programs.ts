/** Programs that use memdebug as a user's program does: from a package, in a folder of their own. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../src/base/package-root.ts";

const folders: string[] = [];
process.on("exit", () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A new folder in which `procscope` can be imported by name. */
export function project(files: Record<string, string> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "procscope-memdebug-"));
  folders.push(folder);
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(packageRoot, join(folder, "node_modules/procscope"));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

export interface Ran {
  readonly status: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs to the end, at most a minute by default, without the colours that the terminal of the tests may have. */
export function run(
  folder: string,
  words: readonly string[],
  options: { node?: string | undefined; env?: Record<string, string>; seconds?: number } = {},
): Ran {
  const { FORCE_COLOR: _, NODE_OPTIONS: __, NODE_V8_COVERAGE: ___, ...env } = process.env;
  return spawnSync(options.node ?? process.execPath, words, {
    cwd: folder,
    encoding: "utf8",
    timeout: (options.seconds ?? 60) * 1000,
    env: { ...env, NODE_NO_WARNINGS: "1", ...options.env },
  });
}

/** Functions that take time and allocate, for programs to call. */
export const work = `
function hot(n) { let s = 0; for (let i = 0; i < n; i++) s += Math.sqrt(i); return s; }
function firstPart() { const end = Date.now() + 200; while (Date.now() < end) hot(1e6); }
function secondPart() { const end = Date.now() + 150; while (Date.now() < end) JSON.parse(JSON.stringify(Array.from({ length: 500 }, (_, i) => ({ i })))); }
`;
