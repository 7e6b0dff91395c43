/**
 * Full stacks of 100, 10,000 and 100,000 parked goroutines, side by side in one run: `procscope dump`, the process's own
 * goroutine?debug=2 over HTTP, and `dlv attach … goroutines -t`. Wall time, CPU, peak memory, and the largest gap that a
 * thread of the target saw between two sleeps of 100 µs meanwhile (the gap of an idle while beside it). Then goroutines
 * that move: how many stacks were read consistently.
 *
 *     node dist/bench/dump.js [--dlv PATH] [--rounds N] [--sizes 100,10000,100000]
 *
 * dlv is `go install github.com/go-delve/delve/cmd/dlv@v1.27.2`; without --dlv it is built into a temporary folder, and
 * left out where that does not work.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { packageRoot } from "../src/base/package-root.ts";
import { cliPath } from "../test/support/cli.ts";

const { values } = parseArgs({
  options: {
    dlv: { type: "string" },
    rounds: { type: "string", default: "3" },
    sizes: { type: "string", default: "100,10000,100000" },
  },
});
const rounds = Number(values.rounds);
const folder = mkdtempSync(join(tmpdir(), "procscope-bench-"));

interface Cost {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly peakMb: number;
  readonly gapMs: number;
}

interface Target {
  readonly pid: number;
  readonly url: string;
  readonly child: ChildProcess;
}

function buildTarget(): string {
  const source = join(folder, "target");
  mkdirSync(source);
  copyFileSync(join(packageRoot, "bench/dump-target.go.txt"), join(source, "main.go"));
  writeFileSync(join(source, "go.mod"), "module bench\n\ngo 1.21\n");
  execFileSync("go", ["build", "-o", join(folder, "bench-target"), "."], { cwd: source });
  return join(folder, "bench-target");
}

async function startTarget(path: string): Promise<Target> {
  const child = spawn(path, [], { stdio: ["pipe", "pipe", "inherit"] });
  const [address] = (await once(child.stdout!, "data")) as [Buffer];
  return { pid: child.pid!, url: `http://${address.toString().trim()}`, child };
}

const ask = async (target: Target, path: string): Promise<string> => (await fetch(target.url + path)).text();

/** CPU time of all threads of a process, in milliseconds. */
function cpuOf(pid: number): number {
  let nanoseconds = 0;
  for (const tid of readdirSync(`/proc/${pid}/task`))
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, "utf8").split(" ")[0]);
  return nanoseconds / 1e6;
}

/** The same of all threads that it ever had, to 10 ms. */
function ticksOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const statusMb = (pid: number, name: string): number =>
  Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;

async function withGap(target: Target, work: () => Promise<Omit<Cost, "gapMs">>): Promise<Cost> {
  await ask(target, "/gap");
  const cost = await work();
  return { ...cost, gapMs: Number(await ask(target, "/gap")) / 1e6 };
}

async function ours(target: Target): Promise<Omit<Cost, "gapMs">> {
  const usage = join(folder, "usage.json");
  const began = performance.now();
  const hook = join(packageRoot, "dist/bench/usage-hook.cjs");
  const child = spawn(
    process.execPath,
    ["--require", hook, cliPath, "dump", String(target.pid), "-o", join(folder, "out")],
    {
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, BENCH_USAGE: usage },
    },
  );
  await once(child, "exit");
  const wallMs = performance.now() - began;
  return { wallMs, ...(JSON.parse(readFileSync(usage, "utf8")) as { cpuMs: number; peakMb: number }) };
}

async function own(target: Target): Promise<Omit<Cost, "gapMs">> {
  const resident = statusMb(target.pid, "VmRSS");
  writeFileSync(`/proc/${target.pid}/clear_refs`, "5");
  const [cpu, began] = [cpuOf(target.pid), performance.now()];
  const response = await fetch(`${target.url}/debug/pprof/goroutine?debug=2`);
  let bytes = 0;
  for await (const chunk of response.body!) bytes += (chunk as Uint8Array).length;
  if (bytes < 1000) throw new Error("the process gave no dump");
  const wallMs = performance.now() - began;
  return { wallMs, cpuMs: cpuOf(target.pid) - cpu, peakMb: Math.max(0, statusMb(target.pid, "VmHWM") - resident) };
}

async function delve(target: Target, dlv: string): Promise<Omit<Cost, "gapMs">> {
  const script = join(folder, "script");
  writeFileSync(script, "goroutines -t\nexit\n");
  const output = openSync(join(folder, "dlv.out"), "w");
  const began = performance.now();
  const child = spawn(dlv, ["attach", String(target.pid), "--init", script, "--allow-non-terminal-interactive"], {
    stdio: ["pipe", output, output],
  });
  child.stdin!.end("n\n");
  let last = { cpuMs: 0, peakMb: 0 };
  const timer = setInterval(() => {
    try {
      const peakMb = statusMb(child.pid!, "VmHWM");
      // A process that has ended but was not waited for yet has no memory any more.
      if (peakMb > 0) last = { cpuMs: ticksOf(child.pid!), peakMb };
    } catch {
      // It has ended.
    }
  }, 20);
  await once(child, "exit");
  clearInterval(timer);
  return { wallMs: performance.now() - began, ...last };
}

/** The path of dlv, or undefined where it cannot be had. */
function findDelve(): string | undefined {
  if (values.dlv !== undefined) return values.dlv;
  try {
    const env = { ...process.env, GOBIN: folder, GOFLAGS: "-mod=mod" };
    execFileSync("go", ["install", "github.com/go-delve/delve/cmd/dlv@v1.27.2"], { env, stdio: "ignore" });
    return join(folder, "dlv");
  } catch {
    return undefined;
  }
}

const spread = (costs: readonly Cost[], key: keyof Cost): { min: number; median: number } => {
  const sorted = costs.map((cost) => cost[key]).sort((a, b) => a - b);
  const round = (value: number): number => Math.round(value * 10) / 10;
  return { min: round(sorted[0]!), median: round(sorted[sorted.length >> 1]!) };
};

const figures = (costs: readonly Cost[]) => ({
  wallMs: spread(costs, "wallMs"),
  cpuMs: spread(costs, "cpuMs"),
  peakMb: spread(costs, "peakMb"),
  largestGapMs: spread(costs, "gapMs"),
});

async function measure(target: Target, size: number, dlv: string | undefined): Promise<void> {
  await ask(target, `/park?n=${size}`);
  const all: { ours: Cost[]; own: Cost[]; idle: Cost[] } = { ours: [], own: [], idle: [] };
  for (let round = 0; round < rounds; round++) {
    all.ours.push(await withGap(target, () => ours(target)));
    all.own.push(await withGap(target, () => own(target)));
    const wait = all.ours.at(-1)!.wallMs;
    all.idle.push(
      await withGap(target, async () => {
        await new Promise((resolve) => setTimeout(resolve, wait));
        return { wallMs: wait, cpuMs: 0, peakMb: 0 };
      }),
    );
  }
  const [mine, peer] = [figures(all.ours), figures(all.own)];
  const idle = spread(all.idle, "gapMs");
  const goals: Record<string, string> = { "100000": "ratio of CPU <= 0.33, peak < 250 MB, gap as while idle" };
  report(`dump ${size} goroutines: CPU, beside debug=2`, { ...mine, idleGapMs: idle }, peer, goals[size] ?? "none");
  if (dlv === undefined) return;
  const theirs = figures([await withGap(target, () => delve(target, dlv))]);
  report(`dump ${size} goroutines: CPU, beside dlv goroutines -t`, mine, theirs, "far below 1");
}

type Figures = ReturnType<typeof figures> & { readonly idleGapMs?: { min: number; median: number } };

function report(name: string, mine: Figures, peer: Figures, goal: string): void {
  const ratio = Math.round((mine.cpuMs.median / peer.cpuMs.median) * 1000) / 1000;
  console.log(JSON.stringify({ name, ours: mine, peer, ratio, goal }));
}

const dlv = findDelve();
if (dlv === undefined) console.error("dlv cannot be built here: left out");
const target = await startTarget(buildTarget());
try {
  for (const size of values.sizes.split(",")) await measure(target, Number(size), dlv);
} finally {
  target.child.stdin!.end("\n");
  target.child.kill();
  rmSync(folder, { recursive: true, force: true });
}
