/**
 * Attaching to a stripped program that nobody here built (esbuild's binary, serving on loopback), and reading its memory
 * statistics: node dist/bench/attach.js. One JSON line each; "cold" is the first attach of a process of its own, "warm"
 * a later one of the same process. No peer reads a stripped program at all.
 */
import { execFileSync, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { GoProcess } from "../src/go/process.ts";

const rounds = 15;

interface Times {
  readonly min: number;
  readonly median: number;
}

/** Milliseconds of wall time. */
function measure(count: number, work: () => void): Times {
  const times = Array.from({ length: count }, () => {
    const began = process.hrtime.bigint();
    work();
    return Number(process.hrtime.bigint() - began) / 1e6;
  });
  return summary(times);
}

function summary(times: readonly number[]): Times {
  const sorted = [...times].sort((a, b) => a - b);
  return { min: sorted[0]!, median: sorted[sorted.length >> 1]! };
}

function attachOnce(pid: number): void {
  using go = GoProcess.attach(pid);
  go.runtime.globals.size;
}

function report(name: string, ours: Times, goal: number | null): void {
  console.log(
    JSON.stringify({
      name,
      unit: "ms",
      ours,
      peer: null,
      ratio: null,
      goal,
      met: goal === null ? null : ours.min <= goal,
    }),
  );
}

async function main(): Promise<void> {
  const binary = createRequire(import.meta.url).resolve("@esbuild/linux-x64/bin/esbuild");
  // esbuild ends when its standard input does.
  const child = spawn(binary, ["--serve=127.0.0.1:0"], { stdio: ["pipe", "ignore", "ignore"], cwd: "/" });
  try {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const pid = child.pid!;
    const self = fileURLToPath(import.meta.url);
    const cold = Array.from({ length: rounds }, () =>
      Number(execFileSync(process.execPath, [self, "--once", String(pid)], { encoding: "utf8" })),
    );
    report("attach to esbuild, stripped, cold", summary(cold), 100);
    report(
      "attach to esbuild, stripped, warm",
      measure(rounds, () => attachOnce(pid)),
      null,
    );
    using go = GoProcess.attach(pid);
    go.memStats();
    report(
      "memory statistics of esbuild",
      measure(1000, () => go.memStats()),
      1,
    );
  } finally {
    child.kill("SIGKILL");
  }
}

if (process.argv[2] === "--once") {
  console.log(measure(1, () => attachOnce(Number(process.argv[3]))).min);
} else await main();
