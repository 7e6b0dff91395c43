/**
 * memdebug beside its peers: node dist/bench/memdebug.js [accuracy] [print] [profiler]. One JSON line each.
 *
 * - accuracy: what print() says of known steps, in bytes off the truth, on each Node version.
 * - print: cost of a print beside the original Go program's, with and without a collection. Needs go, which fetches it,
 *   or MEMDEBUG_PEER=FOLDER with a clone of github.com/steveoc64/memdebug.
 * - profiler: iterations of a CPU-bound program while profiled, beside not profiled and beside node --cpu-prof.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { packageRoot } from "../src/base/package-root.ts";
import { nodeBinary, nodeVersions } from "../test/setup/nodes.ts";

const module = pathToFileURL(join(packageRoot, "dist/src/memdebug/index.js")).href;
const register = pathToFileURL(join(packageRoot, "dist/src/memdebug/register.js")).href;
const work = mkdtempSync(join(tmpdir(), "procscope-bench-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));

function report(line: Record<string, unknown>): void {
  console.log(JSON.stringify(line));
}

function at(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

function accuracy(): void {
  for (const version of nodeVersions) {
    const node = nodeBinary(version);
    if (!node) {
      report({ name: "memdebug-accuracy", node: version, skipped: "npm could not give it" });
      continue;
    }
    const program = join(packageRoot, "targets/memdebug-accuracy.mjs");
    const result = JSON.parse(execFileSync(node, [program, module], { encoding: "utf8" })) as {
      ownCostOfABuffer: number;
      rows: { what: string; truth: number; median: number; p95: number; max: number }[];
    };
    for (const row of result.rows) {
      const met = row.median <= 300 && row.p95 <= 2048;
      report({ name: "memdebug-accuracy", node: version, ...row, goal: "median <= 300, p95 <= 2048", met });
    }
    report({ name: "memdebug-own-cost-of-a-buffer", node: version, bytes: result.ownCostOfABuffer });
  }
}

const printer = `
const memdebug = await import(process.argv[2]);
for (const gc of [false, true]) {
  memdebug.gcMode(gc);
  const count = gc ? 200 : 2000;
  for (let i = 0; i < count / 4; i++) memdebug.print(memdebug.now(), "warm", i);
  const costs = [];
  for (let i = 0; i < count; i++) {
    const before = process.hrtime.bigint();
    memdebug.print(before, "entrant updated", i);
    costs.push(Number(process.hrtime.bigint() - before));
  }
  process.stderr.write(costs.map((cost) => gc + " " + cost + "\\n").join(""));
}`;

/** Runs a program whose standard error is "true 123" and "false 123" lines, its standard output thrown away. */
function costs(command: string, words: readonly string[]): { off: number[]; on: number[] } {
  const ran = spawnSync(command, words, {
    encoding: "utf8",
    stdio: ["ignore", openSync("/dev/null", "w"), "pipe"],
    env: { ...process.env, NO_COLOR: "1" },
  });
  const lines = ran.stderr
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
  const of = (word: string): number[] => lines.filter(([gc]) => gc === word).map(([, cost]) => Number(cost));
  return { off: of("false"), on: of("true") };
}

function print(): void {
  writeFileSync(join(work, "printer.mjs"), printer);
  copyFileSync(join(packageRoot, "bench/memdebug-peer.go.txt"), join(work, "main.go"));
  const go = (...words: string[]): unknown =>
    execFileSync("go", words, { cwd: work, stdio: ["ignore", "ignore", "inherit"] });
  go("mod", "init", "peer");
  // Where the module proxy does not have it: MEMDEBUG_PEER names a clone of its repository.
  const clone = process.env["MEMDEBUG_PEER"];
  if (clone) {
    go(
      "mod",
      "edit",
      "-require=github.com/steveoc64/memdebug@v0.0.0",
      `-replace=github.com/steveoc64/memdebug=${clone}`,
    );
  } else go("get", "github.com/steveoc64/memdebug@01bd336");
  go("build", "-o", "peer", ".");
  const ours = { off: [] as number[], on: [] as number[] };
  const peer = { off: [] as number[], on: [] as number[] };
  for (let round = 0; round < 3; round++) {
    const a = costs(process.execPath, [join(work, "printer.mjs"), module]);
    const b = costs(join(work, "peer"), []);
    for (const key of ["off", "on"] as const) {
      ours[key].push(...a[key]);
      peer[key].push(...b[key]);
    }
  }
  for (const key of ["off", "on"] as const) {
    const [mine, theirs] = [at(ours[key], 0.5), at(peer[key], 0.5)];
    report({
      name: `memdebug-print-gc-${key}`,
      ours: { medianUs: mine / 1e3, minUs: at(ours[key], 0) / 1e3 },
      peer: { medianUs: theirs / 1e3, minUs: at(peer[key], 0) / 1e3 },
      ratio: mine / theirs,
      goal: key === "off" ? "below the original's" : "shown beside it",
    });
  }
}

const burner = `
function inner(n) { let s = 0; for (let i = 0; i < n; i++) s += Math.sqrt(i ^ (s & 7)); return s; }
function middle(n) { return inner(n) + inner(n / 2); }
let rounds = 0;
for (let i = 0; i < 200; i++) middle(2000);
const begun = process.cpuUsage();
const end = Date.now() + 2000;
while (Date.now() < end) { for (let i = 0; i < 20; i++) middle(2000 + (i & 3)); rounds += 20; }
const { user, system } = process.cpuUsage(begun);
console.log(rounds / (user + system));
process.exit(0);`;

function profiler(): void {
  writeFileSync(join(work, "burner.cjs"), burner);
  const ways: Record<string, { words: string[]; env?: Record<string, string> }> = {
    none: { words: [] },
    procscope: { words: ["--import", register], env: { PROCSCOPE_CPU: join(work, "cpu.pb.gz") } },
    "procscope heap": { words: ["--import", register], env: { PROCSCOPE_HEAP: join(work, "heap.pb.gz") } },
    "node --cpu-prof": { words: ["--cpu-prof", "--cpu-prof-dir", work] },
  };
  const speeds = new Map<string, number[]>();
  // In turns, so that what else the machine does falls on all of them; by CPU time, so that waiting does not count.
  for (let round = 0; round < 7; round++) {
    for (const [name, { words, env }] of Object.entries(ways)) {
      const out = execFileSync(process.execPath, [...words, join(work, "burner.cjs")], {
        encoding: "utf8",
        env: { ...process.env, ...env },
      });
      speeds.set(name, [...(speeds.get(name) ?? []), Number(out)]);
    }
  }
  const none = speeds.get("none")!;
  const ratio = (name: string): number =>
    at(
      speeds.get(name)!.map((speed, i) => speed / none[i]!),
      0.5,
    );
  report({
    name: "memdebug-profiler",
    ours: { speedToNone: ratio("procscope"), heapSpeedToNone: ratio("procscope heap") },
    peer: { name: "node --cpu-prof", speedToNone: ratio("node --cpu-prof") },
    ratio: ratio("procscope") / ratio("node --cpu-prof"),
    noise: { none: [at(none, 0) / at(none, 0.5), at(none, 1) / at(none, 0.5)] },
    goal: "within noise of node --cpu-prof",
  });
}

const parts: Record<string, () => void> = { accuracy, print, profiler };
const wanted = process.argv.slice(2);
for (const [name, run] of Object.entries(parts)) if (wanted.length === 0 || wanted.includes(name)) run();
