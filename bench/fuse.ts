/**
 * Operations a second of our FUSE server beside go-fuse's, the same files, rounds in turns: node dist/bench/fuse.js
 * [--rounds N] [--seconds S] [--soak SECONDS]. One JSON line each. Needs root, gcc and go (which fetches go-fuse).
 *
 * `one-cpu`: client and servers share one CPU, so what is measured is the work and not how long this machine takes to
 * wake an idle CPU, which in virtual machines is most of a request's time and different at every run. `free`: the
 * kernel places them; on an idle machine a server with many spinning threads wins there, on a busy one it does not.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { packageRoot } from "../src/base/package-root.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "11" },
    seconds: { type: "string", default: "0.2" },
    soak: { type: "string", default: "20" },
  },
});
const goFuse = "github.com/hanwen/go-fuse/v2@v2.12.1";
const work = mkdtempSync(join(tmpdir(), "procscope-bench-"));
const client = join(work, "client");

interface Server {
  readonly directory: string;
  readonly child: ChildProcess;
  readonly pid: number;
}

async function startServer(name: string, command: string, words: readonly string[]): Promise<Server> {
  const directory = join(work, name);
  mkdirSync(directory, { recursive: true });
  const child = spawn(command, [...words, directory], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once("data", () => resolve());
    child.once("exit", () => reject(new Error(`${name} did not start`)));
  });
  return { directory, child, pid: child.pid! };
}

async function stopServer(server: Server): Promise<void> {
  const ended = new Promise((resolve) => server.child.once("exit", resolve));
  server.child.kill("SIGTERM");
  await ended;
}

function buildPeer(): string {
  const folder = join(work, "peer");
  mkdirSync(folder);
  copyFileSync(join(packageRoot, "bench/fuse-peer.go.txt"), join(folder, "main.go"));
  writeFileSync(join(folder, "go.mod"), "module peer\n\ngo 1.21\n");
  const go = (...words: string[]) => execFileSync("go", words, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  go("get", goFuse);
  go("mod", "tidy");
  go("build", "-o", "peer", ".");
  return join(folder, "peer");
}

/** CPU time of all threads of a process, in nanoseconds. */
function cpuOf(pid: number): number {
  let sum = 0;
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    try {
      sum += Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, "latin1").split(" ")[0]);
    } catch {
      // A thread that ended meanwhile.
    }
  }
  return sum;
}

interface Round {
  readonly rate: number;
  readonly cpuMicroseconds: number;
}

function round(server: Server, mode: string, file: string, prefix: readonly string[]): Round {
  const before = cpuOf(server.pid);
  const words = [...prefix, client, mode, join(server.directory, file), values.seconds];
  const [operations, seconds] = execFileSync(words[0]!, words.slice(1), { encoding: "utf8" }).split(" ").map(Number);
  return { rate: operations! / seconds!, cpuMicroseconds: (cpuOf(server.pid) - before) / 1000 / operations! };
}

const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;
const rounded = (value: number, digits = 2): number => Number(value.toFixed(digits));

function compare(ours: Server, peer: Server, placement: string, prefix: readonly string[]): void {
  if (Number(values.rounds) === 0) return;
  for (const [name, mode, file] of [
    ["cat", "cat", "mem/heap"],
    ["pread", "pread", "mem/heap"],
    ["readdir-102", "readdir", "many"],
    ["cat-1MiB", "cat", "mem/big"],
  ] as const) {
    const pairs = Array.from({ length: Number(values.rounds) }, () => [
      round(ours, mode, file, prefix),
      round(peer, mode, file, prefix),
    ]) as [Round, Round][];
    const side = (index: 0 | 1) => ({
      opsPerSecondMedian: Math.round(median(pairs.map((pair) => pair[index].rate))),
      opsPerSecondMin: Math.round(Math.min(...pairs.map((pair) => pair[index].rate))),
      opsPerSecondMax: Math.round(Math.max(...pairs.map((pair) => pair[index].rate))),
      serverCpuMicrosecondsPerOp: rounded(median(pairs.map((pair) => pair[index].cpuMicroseconds)), 1),
    });
    print({
      name: `fuse/${name}/${placement}`,
      ours: side(0),
      peer: { what: goFuse, ...side(1) },
      ratio: rounded(median(pairs.map(([a, b]) => a.rate / b.rate))),
      cpuRatio: rounded(median(pairs.map(([a, b]) => a.cpuMicroseconds / b.cpuMicroseconds))),
      goal: "ratio >= 1.8 (wished 2), cpuRatio <= 0.5",
      rounds: pairs.length,
    });
  }
}

/** Eight readers at full speed: memory, descriptors and nodes must be the same at the end as after the warm-up. */
async function soak(seconds: number, server: Server): Promise<void> {
  const resident = (): number =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, "latin1"))![1]) * 1024;
  const descriptors = (): number => readdirSync(`/proc/${server.pid}/fd`).length;
  const run = async (time: number): Promise<number> => {
    const files = ["mem/heap", "mem/big", "many/f1", "many/f2", "mem/heap", "many/f3", "mem/big", "mem/heap"];
    const readers = files.map((file) => spawn(client, ["cat", join(server.directory, file), String(time)]));
    let operations = 0;
    for (const reader of readers) {
      let text = "";
      for await (const chunk of reader.stdout) text += chunk;
      operations += Number(text.split(" ")[0]);
    }
    return operations;
  };
  // V8 grows its heap to its working size in the first seconds.
  await run(Math.min(30, seconds));
  const before = { resident: resident(), descriptors: descriptors() };
  const samples: number[] = [];
  const timer = setInterval(() => samples.push(resident()), Math.max(100, seconds * 10));
  const operations = await run(seconds);
  clearInterval(timer);
  const after = { resident: resident(), descriptors: descriptors() };
  const growth = after.resident - before.resident;
  print({
    name: "fuse/soak",
    seconds,
    readers: 8,
    operations,
    before,
    after,
    highestResident: Math.max(...samples),
    growthBytes: growth,
    goal: "no growth of descriptors; of memory less than 16 MiB, which is one young generation",
    met: after.descriptors <= before.descriptors && growth < 16 * 2 ** 20,
  });
}

function print(line: unknown): void {
  console.log(JSON.stringify(line));
}

const servers: Server[] = [];
try {
  execFileSync("gcc", ["-O2", "-o", client, join(packageRoot, "bench/fuse-client.c")]);
  const peerProgram = buildPeer();
  const ours = await startServer("ours", process.execPath, [
    fileURLToPath(new URL("./fuse-serve.js", import.meta.url)),
  ]);
  servers.push(ours);
  const peer = await startServer("theirs", peerProgram, []);
  servers.push(peer);
  const free = readFileSync("/proc/self/status", "latin1").match(/Cpus_allowed:\s+([0-9a-f,]+)/)![1]!;
  compare(ours, peer, "free", ["env"]);
  for (const { pid } of servers) execFileSync("taskset", ["-ap", "1", String(pid)], { stdio: "ignore" });
  compare(ours, peer, "one-cpu", ["taskset", "1"]);
  for (const { pid } of servers) execFileSync("taskset", ["-ap", free, String(pid)], { stdio: "ignore" });
  if (Number(values.soak) > 0) await soak(Number(values.soak), ours);
} finally {
  for (const server of servers) await stopServer(server);
  rmSync(work, { recursive: true, force: true });
}
