/**
 * Go toolchains of any version, through the `go` command into its module cache. They are then run directly: with
 * GOTOOLCHAIN alone a `go` that is a shim, or GO111MODULE=off, silently builds with another version.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { packageRoot } from "../../src/base/package-root.ts";
import { fetching } from "./fetching.ts";

/** The latest patch release of every version that the truth is checked on. */
export const goVersions = [
  "1.16.15",
  "1.18.10",
  "1.20.14",
  "1.21.13",
  "1.22.12",
  "1.23.12",
  "1.24.13",
  "1.25.14",
  "1.26.11",
  "1.27.4",
] as const;

/** The version that everything is built with that is not about a version. */
export const currentGo = "1.26.11";

export const cacheFolder = join(packageRoot, ".cache");

/** The path of a `go` command, whatever its version, or undefined. */
export function findGo(): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/local/go/bin", "/usr/lib/go/bin"];
  return folders.map((folder) => join(folder, "go")).find((path) => existsSync(path));
}

const roots = new Map<string, string>();

/** GOROOT of a version; downloads it where the module cache does not have it yet. */
export function goRoot(version: string): string {
  const known = roots.get(version);
  if (known) return known;
  const go = findGo();
  if (!go) throw new Error("no go command: test/setup installs one");
  const module = `golang.org/toolchain@v0.0.1-go${version}.linux-amd64`;
  const root = join(goEnv(go, "GOMODCACHE"), module);
  if (!existsSync(join(root, "bin/go")) || !existsSync(join(root, "VERSION"))) {
    fetching(() =>
      execFileSync(go, ["mod", "download", module], { cwd: "/", env: downloadEnvironment(), stdio: "pipe" }),
    );
  }
  makeExecutable(root);
  roots.set(version, root);
  return root;
}

/** Puts a Go that is new enough first in PATH where there is none, for the tests that just say `go`. */
export function useGo(): void {
  const go = findGo();
  if (!go) return;
  const minor = Number(
    /go1\.(\d+)/.exec(execFileSync(go, ["version"], { cwd: "/", encoding: "utf8", env: downloadEnvironment() }))?.[1],
  );
  const folder = minor >= 21 ? dirname(go) : join(goRoot(currentGo), "bin");
  const path = process.env["PATH"] ?? "";
  if (!path.split(delimiter).includes(folder)) process.env["PATH"] = `${folder}${delimiter}${path}`;
}

/** Runs the `go` command of a version with nothing of this machine's settings. */
export function runGo(version: string, args: readonly string[], cwd: string, env: Record<string, string> = {}): string {
  const root = goRoot(version);
  return execFileSync(join(root, "bin/go"), args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 64 << 20,
    env: { ...process.env, ...buildEnvironment(root), ...env },
  });
}

export function buildEnvironment(root: string): Record<string, string> {
  const cache = join(cacheFolder, "go-build");
  mkdirSync(cache, { recursive: true });
  return {
    GOROOT: root,
    GOTOOLCHAIN: "local",
    GOCACHE: cache,
    // The user's settings file may hold flags that older versions refuse.
    GOENV: "off",
    GOFLAGS: "",
    GOWORK: "off",
    GO111MODULE: "on",
    GOPROXY: "off",
    GODEBUG: "",
    GOEXPERIMENT: "",
  };
}

function goEnv(go: string, name: string): string {
  return execFileSync(go, ["env", name], { cwd: "/", encoding: "utf8", env: downloadEnvironment() }).trim();
}

function downloadEnvironment(): Record<string, string | undefined> {
  return { ...process.env, GOTOOLCHAIN: "local", GO111MODULE: "on", GOWORK: "off" };
}

/** `go mod download` leaves programs without their x bits (cmd/go sets them when it switches toolchains itself). */
function makeExecutable(root: string): void {
  const tools = join(root, "pkg/tool/linux_amd64");
  for (const folder of [join(root, "bin"), tools]) {
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      if ((statSync(path).mode & 0o111) === 0) chmodSync(path, 0o555);
    }
  }
}
