/**
 * What being profiled costs a program that does a fixed amount of work: its own CPU time without a profiler, with
 * procscope and with `perf record -g` at 19, 99 and 999 samples a second, interleaved; and the profilers' own CPU time.
 *
 *     node dist/bench/profile-cost.js [rounds]
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cliPath } from "../test/support/cli.ts";
import { build } from "../test/support/go-target.ts";
import { currentGo } from "../test/support/go-toolchain.ts";

const rounds = Number(process.argv[2] ?? 5);
const rates = [19, 99, 999];
const program = await build(currentGo, "strip", "busy");
const folder = mkdtempSync(join(tmpdir(), "procscope-bench-"));

/** CPU seconds of the program and of its profiler. */
interface Round {
  readonly target: number;
  readonly profiler: number;
}

type Profiler = (pid: number) => readonly string[];

async function measure(profiler: Profiler | undefined): Promise<Round> {
  const child = spawn(program, ["once"], { stdio: ["pipe", "pipe", "inherit"] });
  const own = profiler && startTimed(profiler(child.pid!));
  let text = "";
  for await (const chunk of child.stdout!.setEncoding("utf8")) text += chunk;
  return { target: Number(/^cpu (\d+)/.exec(text)![1]) / 1e9, profiler: own ? await own : 0 };
}

/** Runs a command to its end and resolves to its CPU seconds, by the shell's own accounting of its children. */
function startTimed(words: readonly string[]): Promise<number> {
  const child = spawn("bash", ["-c", 'TIMEFORMAT="cpu %U %S"; time "$@" >/dev/null 2>&1', "bash", ...words], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let text = "";
  child.stderr!.on("data", (data) => {
    text += data;
  });
  return new Promise((resolve) =>
    child.once("close", () => {
      const [, user, system] = /cpu ([\d.]+) ([\d.]+)/.exec(text) ?? [];
      resolve(Number(user) + Number(system));
    }),
  );
}

const ours =
  (rate: number): Profiler =>
  (pid) => [
    process.execPath,
    cliPath,
    "profile",
    "--pid",
    String(pid),
    "-d",
    "60",
    "--rate",
    String(rate),
    "-o",
    join(folder, "ours.pb.gz"),
  ];
const perf =
  (rate: number): Profiler =>
  (pid) => [
    "perf",
    "record",
    "-q",
    "-g",
    "-e",
    "cpu-clock",
    "-F",
    String(rate),
    "-p",
    String(pid),
    "-o",
    join(folder, "perf.data"),
  ];

const results = new Map<string, Round[]>();
const configurations: [string, Profiler | undefined][] = [
  ["none", undefined],
  ...rates.flatMap((rate): [string, Profiler][] => [
    [`ours ${rate}`, ours(rate)],
    [`perf ${rate}`, perf(rate)],
  ]),
];
for (let round = 0; round < rounds; round++) {
  for (const [name, profiler] of configurations)
    results.set(name, [...(results.get(name) ?? []), await measure(profiler)]);
}

const bare = results.get("none")!.map(({ target }) => target);
for (const rate of rates) {
  const side = (name: string) => {
    const all = results.get(`${name} ${rate}`)!;
    return {
      targetRatio: summary(all.map(({ target }, i) => target / bare[i]!)),
      cpuSeconds: summary(all.map(({ profiler }) => profiler)),
    };
  };
  console.log(
    JSON.stringify({
      name: `cost of a CPU profile at ${rate} Hz`,
      ours: side("ours"),
      peer: side("perf"),
      ratio: "target's CPU time with the profiler to without, round by round",
      bareSeconds: summary(bare),
      goal: "within noise at 99 Hz",
    }),
  );
}
rmSync(folder, { recursive: true, force: true });

function summary(values: readonly number[]): { min: number; median: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const round = (value: number) => Math.round(value * 1000) / 1000;
  return { min: round(sorted[0]!), median: round(sorted[Math.floor(sorted.length / 2)]!) };
}
