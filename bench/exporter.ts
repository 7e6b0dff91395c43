/**
 * The exporter beside process-exporter v0.8.7 on the same processes, scraped in turns: node dist/bench/exporter.js
 * [--counts 1000,5000,10000] [--scrapes N] [--peer PATH] [--wake SECONDS]. One JSON line for each claim. Needs root, gcc
 * and go (which fetches the peer unless --peer names its binary).
 *
 * CPU of a scrape: what all threads of the exporter ran (schedstat, ns) from before the request to 100 ms after the
 * answer, so that work put off until later counts too. `idle` is what it uses between scrapes, a second.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { packageRoot } from "../src/base/package-root.ts";
import { cliPath } from "../test/support/cli.ts";

const { values } = parseArgs({
  options: {
    counts: { type: "string", default: "1000,5000,10000" },
    scrapes: { type: "string", default: "8" },
    wake: { type: "string", default: "0" },
    peer: { type: "string" },
  },
});
const counts = values.counts.split(",").map(Number);
const scrapes = Number(values.scrapes);
const peerModule = "github.com/ncabatoff/process-exporter";
const peerVersion = "v0.8.7";
const work = mkdtempSync(join(tmpdir(), "procscope-bench-"));
const config = join(work, "groups.yml");
writeFileSync(config, `process_names:\n  - name: "{{.Comm}}"\n    cmdline:\n    - '.+'\n`);

interface Kind {
  readonly name: string;
  readonly command: string;
  readonly words: readonly string[];
  /** Which of the rows: (a) the same leanest flags, (b) each one's defaults. */
  readonly row: "a" | "b";
  /** At least this many times less CPU than the peer of its row; undefined where there is no goal. */
  readonly goal?: number;
}

function buildPeer(): string {
  const folder = join(work, "peer");
  mkdirSync(folder);
  writeFileSync(join(folder, "go.mod"), `module peer\n\ngo 1.22\n\nrequire ${peerModule} ${peerVersion}\n`);
  writeFileSync(join(folder, "peer.go"), `package peer\n\nimport _ "${peerModule}/config"\n`);
  const env = { ...process.env, GOFLAGS: "-mod=mod" };
  const binary = join(folder, "process-exporter");
  execFileSync("go", ["build", "-o", binary, `${peerModule}/cmd/process-exporter`], {
    cwd: folder,
    env,
    stdio: "pipe",
  });
  return binary;
}

const peer = values.peer ?? buildPeer();
const lean = ["-gather-smaps=false", "-threads=false"];
const ours = (source: string, ...words: string[]): string[] => [cliPath, "exporter", "--source", source, ...words];

const kinds: readonly Kind[] = [
  { name: "v0.8.7", row: "a", command: peer, words: lean },
  { name: "bpf", row: "a", command: process.execPath, words: ours("bpf", "--go=off", ...lean), goal: 60 },
  {
    name: "procfs-gated",
    row: "a",
    command: process.execPath,
    words: ours("procfs-gated", "--go=off", ...lean),
    goal: 15,
  },
  { name: "procfs", row: "a", command: process.execPath, words: ours("procfs", "--go=off", ...lean), goal: 3 },
  { name: "v0.8.7", row: "b", command: peer, words: [] },
  { name: "bpf", row: "b", command: process.execPath, words: ours("bpf") },
];

interface Running {
  readonly kind: Kind;
  readonly child: ChildProcess;
  readonly port: number;
  /** CPU and wall until the first answer. */
  startCpu: number;
  startWall: number;
  readonly cpu: number[];
  readonly wall: number[];
  idle: number;
}

let nextPort = 21_000 + (process.pid % 5000) * 4;

async function start(kind: Kind): Promise<Running> {
  const port = nextPort++;
  const began = performance.now();
  const words = [...kind.words, "-config.path", config, "-web.listen-address", `127.0.0.1:${port}`];
  const child = spawn(kind.command, words, { stdio: "ignore" });
  const running: Running = { kind, child, port, startCpu: 0, startWall: 0, cpu: [], wall: [], idle: 0 };
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${kind.name} ended: ${kind.command} ${words.join(" ")}`);
    try {
      await scrape(port);
      break;
    } catch {
      await sleep(20);
    }
  }
  running.startWall = performance.now() - began;
  running.startCpu = cpuMs(child.pid!);
  return running;
}

async function stop(running: Running): Promise<void> {
  const ended = new Promise((resolve) => running.child.once("exit", resolve));
  running.child.kill("SIGTERM");
  await Promise.race([ended, sleep(5000)]);
  running.child.kill("SIGKILL");
}

/** GETs the metrics without compression; returns the answer's size. */
function scrape(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: "127.0.0.1", port, path: "/metrics", agent: false }, (answer) => {
      let bytes = 0;
      answer.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
      });
      answer.on("end", () =>
        answer.statusCode === 200 ? resolve(bytes) : reject(new Error(`status ${answer.statusCode}`)),
      );
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

/** CPU of all threads of a process so far, in ms. */
function cpuMs(pid: number): number {
  let sum = 0;
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    try {
      sum += Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, "latin1").split(" ")[0]) / 1e6;
    } catch {
      // A thread that ended between the list and the read: what it used is lost to us, microseconds at most.
    }
  }
  return sum;
}

function peakMegabytes(pid: number): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0) / 1024;
}

async function measure(running: Running): Promise<void> {
  const pid = running.child.pid!;
  const before = cpuMs(pid);
  const began = performance.now();
  await scrape(running.port);
  running.wall.push(performance.now() - began);
  await sleep(100);
  running.cpu.push(cpuMs(pid) - before);
}

const median = (list: readonly number[]): number => [...list].sort((x, y) => x - y)[list.length >> 1]!;
const round = (value: number): number => Number(value.toPrecision(4));

interface Figures {
  cpuMsMin: number;
  cpuMsMedian: number;
  wallMsMin: number;
  wallMsMedian: number;
  idleCpuMsPerSecond: number;
  peakMB: number;
  startCpuMs: number;
  startWallMs: number;
}

function figures(running: Running): Figures {
  return {
    cpuMsMin: round(Math.min(...running.cpu)),
    cpuMsMedian: round(median(running.cpu)),
    wallMsMin: round(Math.min(...running.wall)),
    wallMsMedian: round(median(running.wall)),
    idleCpuMsPerSecond: round(running.idle),
    peakMB: round(peakMegabytes(running.child.pid!)),
    startCpuMs: round(running.startCpu),
    startWallMs: round(running.startWall),
  };
}

/** One line. Ratio and wall time are of the least of each: what neighbours on the machine add is no property of ours. */
function report(count: number, reference: Running, running: Running): void {
  const { kind } = running;
  const us = figures(running);
  const them = figures(reference);
  const ratio = round(them.cpuMsMin / us.cpuMsMin);
  const small = count < 5000;
  const wall = kind.name === "bpf" && kind.row === "a" && count === 10_000;
  console.log(
    JSON.stringify({
      name: `exporter/${count}/${kind.row}/${kind.name}`,
      ours: us,
      peer: them,
      ratio,
      ratioOfMedians: round(them.cpuMsMedian / us.cpuMsMedian),
      goal: { cpuRatio: kind.goal, peakMB: small ? 70 : round(2 * them.peakMB), wallMs: wall ? 50 : undefined },
      met: {
        cpuRatio: kind.goal === undefined ? undefined : ratio >= kind.goal,
        peakMB: us.peakMB <= (small ? 70 : 2 * them.peakMB),
        wallMs: wall ? us.wallMsMin < 50 : undefined,
      },
    }),
  );
}

/** All exporters of a row beside each other, scraped one after another in rounds, so that noise meets all of them. */
async function runRow(count: number, row: "a" | "b"): Promise<void> {
  const all: Running[] = [];
  try {
    for (const kind of kinds) if (kind.row === row) all.push(await start(kind));
    // Compilers of both kinds settle within some scrapes.
    for (let i = 0; i < 12; i++)
      for (const running of all) if (i < 3 || running.kind.command !== peer) await scrapeAfterReuse(running);
    for (let i = 0; i < scrapes; i++) for (const running of all) await measure(running);
    const before = all.map((running) => cpuMs(running.child.pid!));
    await sleep(5000);
    for (const [i, running] of all.entries()) running.idle = (cpuMs(running.child.pid!) - before[i]!) / 5;
    for (const running of all.slice(1)) report(count, all[0]!, running);
  } finally {
    for (const running of all) await stop(running);
  }
}

/** Scrapes within 50 ms of each other share one scan: these would not warm anything. */
async function scrapeAfterReuse(running: Running): Promise<void> {
  await scrape(running.port);
  await sleep(60);
}

const load = join(work, "many");
execFileSync("gcc", ["-O1", "-pthread", "-o", load, join(packageRoot, "targets/many.c")]);
try {
  for (const count of counts) {
    const services = spawn(load, [String(count), "900", values.wake], { stdio: ["pipe", "pipe", "inherit"] });
    try {
      await new Promise<void>((resolve, reject) => {
        services.stdout.once("data", () => resolve());
        services.once("exit", () => reject(new Error("the load did not start")));
      });
      await sleep(2000);
      await runRow(count, "a");
      await runRow(count, "b");
    } finally {
      services.stdin.end();
      await new Promise((resolve) => services.once("exit", resolve));
      await sleep(3000);
    }
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
