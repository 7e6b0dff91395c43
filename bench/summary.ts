/**
 * `procscope summary` of esbuild, cold from the shell, as `npm start` runs it: wall time beside that of `node -e 0`, node's
 * own start, in turns.
 *
 *     node dist/bench/summary.js [--rounds N]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { packageRoot } from "../src/base/package-root.ts";
import { cliPath } from "../test/support/cli.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "15" } } });
const rounds = Number(values.rounds);
const folder = mkdtempSync(join(tmpdir(), "procscope-bench-"));

interface Cost {
  readonly wallMs: number;
  readonly cpuMs: number;
}

async function run(args: readonly string[]): Promise<Cost> {
  const usage = join(folder, "usage.json");
  const began = performance.now();
  // The hook costs both sides the same.
  const child = spawn(process.execPath, ["--require", join(packageRoot, "dist/bench/usage-hook.cjs"), ...args], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, BENCH_USAGE: usage },
  });
  const [status] = (await once(child, "exit")) as [number];
  if (status !== 0) throw new Error(`status ${status}`);
  const wallMs = performance.now() - began;
  return { wallMs, cpuMs: (JSON.parse(readFileSync(usage, "utf8")) as { cpuMs: number }).cpuMs };
}

function spread(costs: readonly Cost[], key: keyof Cost): { min: number; median: number } {
  const sorted = costs.map((cost) => Math.round(cost[key])).sort((a, b) => a - b);
  return { min: sorted[0]!, median: sorted[sorted.length >> 1]! };
}

const platforms = join(packageRoot, "node_modules/@esbuild");
const [platform] = readdirSync(platforms).filter((name) => name.startsWith("linux-"));
const server = spawn(join(platforms, platform!, "bin/esbuild"), ["--serve=127.0.0.1:0", `--servedir=${folder}`], {
  stdio: ["pipe", "pipe", "pipe"],
});
try {
  await once(server.stderr, "data");
  const ours: Cost[] = [];
  const node: Cost[] = [];
  for (let round = 0; round < rounds; round++) {
    ours.push(await run([cliPath, "summary", String(server.pid)]));
    node.push(await run(["-e", "0"]));
  }
  const [mine, peer] = [ours, node].map((costs) => ({
    wallMs: spread(costs, "wallMs"),
    cpuMs: spread(costs, "cpuMs"),
  })) as [Figures, Figures];
  const ratio = Math.round((mine.wallMs.median / peer.wallMs.median) * 100) / 100;
  const name = "summary of esbuild from the shell, beside node -e 0";
  console.log(JSON.stringify({ name, ours: mine, peer, ratio, goal: "ours wall < 150 ms on an idle machine" }));
} finally {
  server.kill();
  rmSync(folder, { recursive: true, force: true });
}

type Figures = Record<keyof Cost, { min: number; median: number }>;
