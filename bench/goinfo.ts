/**
 * `procscope mount` over a Go process that serves goinfo's tree itself, both trees read in turns; and how long a big
 * stack trace holds up another process's figures: node dist/bench/goinfo.js [--goinfo SOURCES] [--goroutines N].
 * SOURCES is a checkout of betamike/goinfo at 2226528, its last version that is a file system; without it only the
 * second part runs. Needs root, gcc and go.
 */
import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { packageRoot } from "../src/base/package-root.ts";
import { cliPath } from "../test/support/cli.ts";
import { build, GoTarget } from "../test/support/go-target.ts";
import {
  allCpus,
  buildClient,
  compare,
  place,
  print,
  rounded,
  type Server,
  startServer,
  stopServer,
} from "./fuse-rounds.ts";

const { values } = parseArgs({
  options: {
    goinfo: { type: "string" },
    goroutines: { type: "string", default: "100000" },
    rounds: { type: "string", default: "11" },
    seconds: { type: "string", default: "0.2" },
  },
});
const work = mkdtempSync(join(tmpdir(), "procscope-bench-"));

function buildGoinfo(sources: string): string {
  const folder = join(work, "peer");
  mkdirSync(folder);
  cpSync(sources, join(folder, "goinfo"), { recursive: true });
  // Two programs in one folder: they never built.
  rmSync(join(folder, "goinfo/examples"), { recursive: true, force: true });
  writeFileSync(
    join(folder, "goinfo/go.mod"),
    "module github.com/betamike/goinfo\n\ngo 1.21\n\nrequire github.com/hanwen/go-fuse v1.0.0\n",
  );
  copyFileSync(join(packageRoot, "bench/goinfo-peer.go.txt"), join(folder, "main.go"));
  writeFileSync(
    join(folder, "go.mod"),
    "module peer\n\ngo 1.21\n\nrequire github.com/betamike/goinfo v0.0.0\nreplace github.com/betamike/goinfo => ./goinfo\n",
  );
  for (const words of [
    ["mod", "tidy"],
    ["build", "-o", "peer", "."],
  ]) {
    execFileSync("go", words, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  }
  return join(folder, "peer");
}

/** Mounts by the command line tool, as a user would; the folder is the last word. */
function mount(name: string, ...words: string[]): Promise<Server> {
  return startServer(work, name, process.execPath, [cliPath, "mount", "--json", ...words]);
}

async function besideGoinfo(sources: string): Promise<void> {
  const peer = { ...(await startServer(work, "theirs", buildGoinfo(sources), [])), what: "goinfo 2226528, go-fuse v1" };
  const live = await mount("live", "--pid", String(peer.pid));
  const kept = await mount("kept", "--pid", String(peer.pid), "--ttl", "2s");
  try {
    const rounds = { program: buildClient(work), seconds: Number(values.seconds), rounds: Number(values.rounds) };
    const all = allCpus();
    for (const [placement, prefix] of [
      ["free", ["env"]],
      ["one-cpu", ["taskset", "1"]],
    ] as const) {
      for (const { pid } of [live, kept, peer]) place(pid, placement === "free" ? all : "1");
      const client = { ...rounds, prefix };
      // Theirs is kept for two seconds; so is ours here.
      compare(`goinfo/cat-heap-ttl-2s/${placement}`, client, ["cat", "mem/heap"], kept, peer);
      compare(`goinfo/readdir-mem/${placement}`, client, ["readdir", "mem"], kept, peer);
      // And here ours is read from the process each time, which theirs cannot.
      compare(`goinfo/cat-heap-live/${placement}`, client, ["cat", "mem/heap"], live, peer);
    }
  } finally {
    await stopServer(live);
    await stopServer(kept);
    peer.child.kill("SIGKILL");
    execFileSync("umount", ["-l", peer.directory]);
  }
}

/** Reads of another process's mem/heap, while its neighbour's stacks are being read and while they are not. */
async function delay(goroutines: number): Promise<void> {
  const big = await GoTarget.start(await build());
  const small = await GoTarget.start(await build());
  const server = await mount("all", "--all");
  try {
    await big.ask(`park ${goroutines}`);
    const folders = execFileSync("ls", [server.directory], { encoding: "utf8" }).trim().split("\n");
    const of = (pid: number): string =>
      join(server.directory, folders.find((name) => name.startsWith(`${pid}-`)) ?? "missing");
    const heap = join(of(small.pid), "mem/heap");
    const stacks = join(of(big.pid), "st/stacktrace");
    readFileSync(heap);
    const bytes = readFileSync(stacks).length;
    const quiet = await latencies(heap, 2000);
    // The same CPU load without us: what the machine itself adds, which others may be using too.
    const loops = [0, 10].map((nice) =>
      spawn("nice", ["-n", String(nice), "sh", "-c", "while :; do :; done"], { stdio: "ignore" }),
    );
    const control = await latencies(heap, 5000);
    for (const loop of loops) loop.kill("SIGKILL");
    const reader = spawn("sh", ["-c", `while :; do cat ${stacks} > /dev/null; done`], { stdio: "ignore" });
    const busy = await latencies(heap, 5000);
    reader.kill("SIGKILL");
    print({
      name: "goinfo/delay-by-stacktrace",
      goroutines,
      stacktraceBytes: bytes,
      quietMilliseconds: quiet,
      controlMilliseconds: control,
      busyMilliseconds: busy,
      addedMilliseconds: rounded(busy.max - Math.max(control.max, quiet.max)),
      goal: "at most 50 ms more than two busy loops beside it add",
      met: busy.max - Math.max(control.max, quiet.max) <= 50,
    });
  } finally {
    await stopServer(server);
    await big.end();
    await small.end();
  }
}

async function latencies(
  path: string,
  milliseconds: number,
): Promise<{ median: number; p99: number; max: number; reads: number }> {
  const times: number[] = [];
  for (const end = performance.now() + milliseconds; performance.now() < end; ) {
    const start = performance.now();
    readFileSync(path);
    times.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  times.sort((a, b) => a - b);
  const at = (share: number): number =>
    rounded(times[Math.min(times.length - 1, Math.floor(times.length * share))]!, 3);
  return { median: at(0.5), p99: at(0.99), max: at(1), reads: times.length };
}

try {
  if (values.goinfo !== undefined) await besideGoinfo(values.goinfo);
  await delay(Number(values.goroutines));
} finally {
  rmSync(work, { recursive: true, force: true });
}
