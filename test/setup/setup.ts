/**
 * Sees to what the tests need from the machine, before they run. Everything that can live in this folder's .cache or in
 * Go's module cache goes there; the rest are Debian packages, installed as root, or named in one command to run.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fetching } from "../support/fetching.ts";
import { findGo, goRoot, goVersions, useGo } from "../support/go-toolchain.ts";
import { packages } from "./packages.ts";
import { fetchReleased } from "./released.ts";

interface Need {
  readonly command: string;
  readonly package: string;
  readonly why: string;
}

/** What every area needs. */
const basics: readonly Need[] = [
  { command: "gcc", package: "gcc", why: "targets in C, and Go targets with cgo" },
  { command: "tmux", package: "tmux", why: "screens of programs like top" },
  { command: "setpriv", package: "util-linux", why: "targets of other users" },
  { command: "unshare", package: "util-linux", why: "targets in namespaces of their own" },
];

/** The least Go whose command can fetch any other version as a module. Debian's own is older and does it as well. */
const anyGo: Need = {
  command: "go",
  package: "golang-go",
  why: "fetches the Go toolchains that targets are built with",
};

export async function prepare({ quick, areas }: { quick: boolean; areas: readonly string[] }): Promise<void> {
  const missing = [...(findGo() ? [] : [anyGo]), ...[...basics, ...packages.filter(concerns(areas))].filter(isMissing)];
  if (missing.length > 0) install(missing);
  if (!quick && (areas.length === 0 || areas.some((area) => area.startsWith("go")))) {
    fetchToolchains();
    fetchReleased();
  } else useGo();
}

/** A package's reason begins with the area that wants it: "test/fuse mounts as …". */
function concerns(areas: readonly string[]): (need: Need) => boolean {
  return (need) =>
    areas.length === 0 ||
    areas.some((area) => need.why.startsWith(`test/${area.split("/")[0]}`)) ||
    !need.why.startsWith("test/");
}

function isMissing(need: Need): boolean {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return !folders.some((folder) => isExecutable(join(folder, need.command)));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function install(missing: readonly Need[]): void {
  for (const need of missing) console.log(`setup: missing ${need.command}: ${need.why}`);
  const names = [...new Set(missing.map((need) => need.package))];
  const line = `apt-get update && apt-get install -y --no-install-recommends ${names.join(" ")}`;
  if (process.geteuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) {
    const how = existsSync("/usr/bin/apt-get") ? `sudo sh -c '${line}'` : `install: ${names.join(" ")}`;
    console.error(`the tests need programs that are not installed; run\n  ${how}`);
    process.exit(1);
  }
  console.log(`setup: ${line}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  fetching(() => {
    spawnSync("apt-get", ["update", "-qq"], { stdio: "inherit", env });
    execFileSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...names], {
      stdio: ["ignore", "ignore", "inherit"],
      env,
    });
  });
  const still = missing.filter((need) => (need === anyGo ? !findGo() : isMissing(need)));
  if (still.length > 0)
    throw new Error(`still missing after the installation: ${still.map((n) => n.command).join(", ")}`);
}

function fetchToolchains(): void {
  const began = Date.now();
  for (const version of goVersions) goRoot(version);
  useGo();
  if (Date.now() - began > 2000) console.log(`setup: Go toolchains in ${Math.round((Date.now() - began) / 1000)} s`);
}
