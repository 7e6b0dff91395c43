/** Rounds in turns over two file servers: what bench/fuse.ts and bench/goinfo.ts share. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../src/base/package-root.ts";

export interface Server {
  readonly directory: string;
  readonly child: ChildProcess;
  readonly pid: number;
}

/** Starts a server that mounts at the folder given as its last word, and writes a line when it serves. */
export async function startServer(
  work: string,
  name: string,
  command: string,
  words: readonly string[],
): Promise<Server> {
  const directory = join(work, name);
  mkdirSync(directory, { recursive: true });
  const child = spawn(command, [...words, directory], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once("data", () => resolve());
    child.once("exit", () => reject(new Error(`${name} did not start`)));
  });
  return { directory, child, pid: child.pid! };
}

export async function stopServer(server: Server): Promise<void> {
  const ended = new Promise((resolve) => server.child.once("exit", resolve));
  server.child.kill("SIGTERM");
  await ended;
}

/** Builds the client of the rounds. */
export function buildClient(work: string): string {
  const client = join(work, "client");
  execFileSync("gcc", ["-O2", "-o", client, join(packageRoot, "bench/fuse-client.c")]);
  return client;
}

/** Lets a process and all its threads run on CPU 0 alone, or on these again. */
export function place(pid: number, cpus = "1"): void {
  execFileSync("taskset", ["-ap", cpus, String(pid)], { stdio: "ignore" });
}

/** The CPUs that this process may use, as taskset writes them. */
export function allCpus(): string {
  return readFileSync("/proc/self/status", "latin1").match(/Cpus_allowed:\s+([0-9a-f,]+)/)![1]!;
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

/** One operation of the client, as often as fits in the time. */
function round(client: Client, server: Server, mode: string, file: string): Round {
  const before = cpuOf(server.pid);
  const words = [...client.prefix, client.program, mode, join(server.directory, file), String(client.seconds)];
  const [operations, seconds] = execFileSync(words[0]!, words.slice(1), { encoding: "utf8" }).split(" ").map(Number);
  return { rate: operations! / seconds!, cpuMicroseconds: (cpuOf(server.pid) - before) / 1000 / operations! };
}

export const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;
export const rounded = (value: number, digits = 2): number => Number(value.toFixed(digits));

export interface Client {
  readonly program: string;
  readonly seconds: number;
  readonly rounds: number;
  /** Words before the program's: where it runs. */
  readonly prefix: readonly string[];
}

/** Rounds of both servers in turns, as one JSON line. */
export function compare(
  name: string,
  client: Client,
  [mode, file]: readonly [mode: string, file: string],
  ours: Server,
  peer: Server & { readonly what: string },
): void {
  const pairs = Array.from({ length: client.rounds }, () => [
    round(client, ours, mode, file),
    round(client, peer, mode, file),
  ]) as [Round, Round][];
  const side = (index: 0 | 1) => {
    const rates = pairs.map((pair) => pair[index].rate);
    return {
      opsPerSecondMedian: Math.round(median(rates)),
      opsPerSecondMin: Math.round(Math.min(...rates)),
      opsPerSecondMax: Math.round(Math.max(...rates)),
      serverCpuMicrosecondsPerOp: rounded(median(pairs.map((pair) => pair[index].cpuMicroseconds)), 1),
    };
  };
  print({
    name,
    ours: side(0),
    peer: { what: peer.what, ...side(1) },
    ratio: rounded(median(pairs.map(([a, b]) => a.rate / b.rate))),
    cpuRatio: rounded(median(pairs.map(([a, b]) => a.cpuMicroseconds / b.cpuMicroseconds))),
    goal: "ratio >= 1.8 (wished 2), cpuRatio <= 0.5",
    rounds: pairs.length,
  });
}

export function print(line: unknown): void {
  console.log(JSON.stringify(line));
}
