/** The Node versions that what runs inside programs is tested on; fetched from npm once, into .cache/. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/base/package-root.ts";
import { fetching } from "../support/fetching.ts";

/** Besides the one that runs the tests. */
export const nodeVersions: readonly string[] = ["20.20.2", "22.23.3", "24.21.0", "26.10.0"];

/** The binary of a version, fetched where it is not there yet; undefined where npm cannot give it. */
export function nodeBinary(version: string): string | undefined {
  if (process.versions.node === version) return process.execPath;
  const name = `node-linux-${process.arch}`;
  const folder = join(packageRoot, ".cache", `node-${version}`);
  const binary = join(folder, "node_modules", name, "bin/node");
  if (existsSync(binary)) return binary;
  const temporary = `${folder}.${process.pid}`;
  try {
    mkdirSync(temporary, { recursive: true });
    const words = ["install", "--silent", "--no-save", "--no-audit", "--prefix", temporary, `${name}@${version}`];
    fetching(() => execFileSync("npm", words, { stdio: "ignore", timeout: 180_000 }));
    if (!existsSync(folder)) renameSync(temporary, folder);
  } catch {
    return undefined;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return existsSync(binary) ? binary : undefined;
}
