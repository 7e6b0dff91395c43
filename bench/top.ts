/**
 * What `top` costs, in a real terminal on a real target: node dist/bench/top.js [--goroutines N] [--seconds S]
 * [--rounds N] [--soak SECONDS]. One JSON line each:
 *
 * - top-cpu: percent of one core for the full screen at an interval of 1 s. Goal: at most 3.
 * - top-cpu-current: the same with whole stacks read at each look.
 * - top-memory: resident MiB at the end of --soak beside after its first tenth. Goal: a ratio of at most 1.1. Ten minutes are --soak 600.
 * - top-throughput: work of the target a second with top beside without, in turns. Goal: a ratio within the spread of
 *   the rounds without.
 *
 * The peer of CPU is gospy's top where a binary is named by --gospy.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readProcStat, ticksPerSecond } from "../src/kernel/proc-stat.ts";
import { cliPath } from "../test/support/cli.ts";
import { build, GoTarget } from "../test/support/go-target.ts";

const { values } = parseArgs({
  options: {
    goroutines: { type: "string", default: "10000" },
    seconds: { type: "string", default: "20" },
    rounds: { type: "string", default: "5" },
    soak: { type: "string", default: "60" },
    gospy: { type: "string" },
  },
});
const [goroutines, seconds, rounds, soak] = [values.goroutines, values.seconds, values.rounds, values.soak].map(Number);
const folder = mkdtempSync(join(tmpdir(), "procscope-bench-top-"));
/** A terminal server of its own for each run: one that is ending refuses the next. */
let servers = 0;

const tmux = (...words: string[]): string =>
  execFileSync("tmux", ["-S", join(folder, `tmux-${servers}`), ...words], { encoding: "utf8" });
const sleep = (time: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, time * 1000));

/** Runs a command in a terminal of 200 x 50; the process itself is the pane's. */
async function inTerminal<T>(command: string, use: (pid: number) => Promise<T>): Promise<T> {
  servers++;
  tmux("-f", "/dev/null", "new-session", "-d", "-x", "200", "-y", "50", `exec ${command}`);
  try {
    return await use(Number(tmux("display-message", "-p", "#{pane_pid}")));
  } finally {
    tmux("kill-server");
  }
}

const cpuSeconds = (pid: number): number => {
  const { userTicks, systemTicks } = readProcStat(pid);
  return (userTicks + systemTicks) / ticksPerSecond;
};

/** Percent of a core over `time`, after the start is over. */
async function cpuPercent(pid: number, time: number): Promise<number> {
  await sleep(5);
  const before = cpuSeconds(pid);
  const began = performance.now();
  await sleep(time);
  return ((cpuSeconds(pid) - before) / ((performance.now() - began) / 1000)) * 100;
}

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;
const round = (value: number): number => Math.round(value * 1000) / 1000;

function print(line: Record<string, unknown>): void {
  console.log(JSON.stringify({ goroutines, interval: 1, ...line }));
}

const topCommand = (pid: number, ...more: string[]): string =>
  [process.execPath, cliPath, "top", "--pid", String(pid), "--interval", "1s", ...more].join(" ");

async function cpu(target: GoTarget, name: string, ...more: string[]): Promise<void> {
  const ours: number[] = [];
  for (let i = 0; i < 3; i++)
    ours.push(await inTerminal(topCommand(target.pid, ...more), (pid) => cpuPercent(pid, seconds!)));
  const gospy = `${values.gospy} top --pid ${target.pid} --interval 1`;
  const peer = values.gospy ? await inTerminal(gospy, (pid) => cpuPercent(pid, seconds!)) : undefined;
  const [least, middle] = [Math.min(...ours), median(ours)].map(round);
  print({
    name,
    unit: "percent of a core",
    ours: middle,
    min: least,
    median: middle,
    peer,
    ratio: peer && round(middle! / peer),
    goal: 3,
  });
}

async function memory(target: GoTarget): Promise<void> {
  const resident = (pid: number): number =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]) / 1024;
  const samples = await inTerminal(topCommand(target.pid), async (pid) => {
    const taken: number[] = [];
    await sleep(5);
    for (let i = 0; i < 100; i++) {
      await sleep(soak! / 100);
      taken.push(resident(pid));
    }
    return taken;
  });
  // V8 lets garbage grow to a mark and collects it: tenths are compared by their medians.
  const [first, last] = [median(samples.slice(5, 25)), median(samples.slice(-20))].map(round);
  const most = round(Math.max(...samples));
  print({
    name: "top-memory",
    unit: "MiB resident",
    seconds: soak,
    ours: last,
    peer: first,
    most,
    ratio: round(last! / first!),
    goal: 1.1,
  });
}

async function rate(target: GoTarget, time: number): Promise<number> {
  const before = Number(await target.ask("work"));
  const began = performance.now();
  await sleep(time);
  return (Number(await target.ask("work")) - before) / ((performance.now() - began) / 1000);
}

async function throughput(path: string): Promise<void> {
  await using target = await GoTarget.start(path, { env: { HEALTHY: String(goroutines), WORK: "1" } });
  const without: number[] = [];
  const withTop: number[] = [];
  const time = Math.max(2, seconds! / rounds!);
  for (let i = 0; i < rounds!; i++) {
    without.push(await rate(target, time));
    withTop.push(
      await inTerminal(topCommand(target.pid), async () => {
        await sleep(1.5);
        return rate(target, time);
      }),
    );
  }
  const [ours, peer] = [median(withTop), median(without)].map(round);
  const spread = round((Math.max(...without) - Math.min(...without)) / peer!);
  print({
    name: "top-throughput",
    unit: "work a second",
    ours,
    peer,
    ratio: round(ours! / peer!),
    spreadWithout: spread,
    goal: "within the spread",
  });
}

try {
  // gospy reads neither stripped programs nor newer ones right.
  const path = values.gospy ? await build("1.24.13", "plain", "leak") : await build(undefined, "strip", "leak");
  {
    await using target = await GoTarget.start(path, { env: { HEALTHY: String(goroutines) } });
    await cpu(target, "top-cpu");
    await cpu(target, "top-cpu-current", "--group", "current");
    await memory(target);
  }
  await throughput(path);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
