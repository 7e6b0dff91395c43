/**
 * Go programs that nobody here built: out of npm packages and Debian packages, taken apart into .cache/released without
 * installing anything (no install script runs, no server is started).
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/base/package-root.ts";
import { fetching } from "../support/fetching.ts";

const folder = join(packageRoot, ".cache/released");

export interface Released {
  readonly name: string;
  /** What it was built with: told by the program itself, here for whoever reads the list. */
  readonly go: string;
  readonly path: string;
  /** How it is started so that it waits for somebody. */
  readonly args: readonly string[];
  /** Milliseconds until it has settled. */
  readonly settle: number;
}

/** [alias, package@version, Go version, path inside, arguments] */
type NpmRow = readonly [alias: string, spec: string, go: string, path: string, args: readonly string[]];

const esbuild = (version: string, go: string, name = "@esbuild/linux-x64"): NpmRow => [
  `esbuild-${version}`,
  `${name}@${version}`,
  go,
  "bin/esbuild",
  [`--service=${version}`, "--ping"],
];

const npmRows: readonly NpmRow[] = [
  esbuild("0.8.57", "1.16", "esbuild-linux-64"),
  esbuild("0.12.29", "1.17.1", "esbuild-linux-64"),
  esbuild("0.14.54", "1.19", "esbuild-linux-64"),
  esbuild("0.15.18", "1.19.3", "esbuild-linux-64"),
  esbuild("0.17.19", "1.20.4"),
  esbuild("0.18.20", "1.20.7"),
  esbuild("0.19.12", "1.20.12"),
  esbuild("0.23.1", "1.22.5"),
  esbuild("0.25.10", "1.23.12"),
  esbuild("0.28.2", "1.26.5"),
  ["buf", "@bufbuild/buf-linux-x64@1.75.0", "1.27.3", "bin/buf", ["lsp", "serve"]],
  ["tsgo", "@typescript/native-preview-linux-x64@7.0.0-dev.20260707.2", "1.26.4", "lib/tsgo", ["--lsp", "--stdio"]],
];

/** [package, program, arguments]; all of Debian 12's are built with its Go 1.19.8. */
type DebianRow = readonly [name: string, program: string, args: readonly string[]];

const debianRows: readonly DebianRow[] = [
  [
    "prometheus",
    "prometheus",
    ["--web.listen-address=127.0.0.1:0", "--storage.tsdb.path=prometheus-data", "--config.file=prometheus.yml"],
  ],
  ["prometheus-node-exporter", "prometheus-node-exporter", ["--web.listen-address=127.0.0.1:0"]],
  ["prometheus-pushgateway", "prometheus-pushgateway", ["--web.listen-address=127.0.0.1:0"]],
  [
    "prometheus-blackbox-exporter",
    "prometheus-blackbox-exporter",
    ["--web.listen-address=127.0.0.1:0", "--config.file=blackbox.yml"],
  ],
  [
    "etcd-server",
    "etcd",
    [
      "--data-dir=etcd-data",
      "--listen-client-urls=http://127.0.0.1:0",
      "--advertise-client-urls=http://127.0.0.1:0",
      "--listen-peer-urls=http://127.0.0.1:0",
    ],
  ],
];

/** Files that programs want in the folder that they run in. */
export const releasedFiles: Readonly<Record<string, string>> = {
  "prometheus.yml": "global: {}\n",
  "blackbox.yml": "modules: {http: {prober: http}}\n",
};

/** All of them, whether they are there or not. */
export function releasedPrograms(): Released[] {
  return [
    ...npmRows.map(([alias, , go, path, args]) => ({
      name: alias,
      go,
      path: join(folder, "npm/node_modules", alias, path),
      args,
      // As a service it sleeps for its first second, then asks its client for a sign of life and waits for it for ever.
      settle: 2000,
    })),
    ...debianRows.map(([name, program, args]) => ({
      name,
      go: "1.19.8",
      path: join(folder, "debian/usr/bin", program),
      args,
      settle: 1500,
    })),
  ];
}

/** Fetches what is missing. What cannot be fetched stays missing, and the tests of those programs fail and say so. */
export function fetchReleased(): void {
  mkdirSync(folder, { recursive: true });
  const missing = new Set(releasedPrograms().flatMap(({ name, path }) => (existsSync(path) ? [] : [name])));
  const specs = npmRows.filter(([alias]) => missing.has(alias));
  if (specs.length > 0) attempt(fetchNpm);
  const debian = debianRows.filter(([name]) => missing.has(name));
  if (debian.length > 0 && existsSync("/usr/bin/apt-get")) attempt(() => fetchDebian(debian.map(([name]) => name)));
}

function attempt(fetch: () => void): void {
  try {
    fetching(fetch);
  } catch (error) {
    console.error(`setup: released programs could not be fetched: ${error instanceof Error ? error.message : error}`);
  }
}

function fetchNpm(): void {
  const prefix = join(folder, "npm");
  mkdirSync(prefix, { recursive: true });
  const specs = npmRows.map(([alias, spec]) => `${alias}@npm:${spec}`);
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--no-package-lock", "--loglevel=error"];
  execFileSync("npm", ["install", "--prefix", prefix, ...flags, ...specs], {
    stdio: ["ignore", "ignore", "inherit"],
    cwd: prefix,
  });
}

function fetchDebian(names: readonly string[]): void {
  const packages = join(folder, "packages");
  mkdirSync(packages, { recursive: true });
  // As root, the lists may never have been fetched; others use what the machine has.
  if (process.geteuid?.() === 0) execFileSync("apt-get", ["update", "-qq"], { stdio: "ignore" });
  execFileSync("apt-get", ["download", "-qq", ...names], { cwd: packages, stdio: ["ignore", "ignore", "pipe"] });
  for (const file of readdirSync(packages).filter((name) => name.endsWith(".deb")))
    execFileSync("dpkg-deb", ["-x", join(packages, file), join(folder, "debian")]);
}
