/**
 * Operations a second of our FUSE server beside go-fuse's, the same files, rounds in turns: node dist/bench/fuse.js
 * [--rounds N] [--seconds S] [--soak SECONDS]. One JSON line each. Needs root, gcc and go (which fetches go-fuse).
 *
 * `one-cpu`: client and servers share one CPU, so what is measured is the work and not how long this machine takes to
 * wake an idle CPU, which in virtual machines is most of a request's time and different at every run. `free`: the
 * kernel places them; on an idle machine a server with many spinning threads wins there, on a busy one it does not.
 */
import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { packageRoot } from "../src/base/package-root.ts";
import { allCpus, buildClient, compare, place, print, type Server, startServer, stopServer } from "./fuse-rounds.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "11" },
    seconds: { type: "string", default: "0.2" },
    soak: { type: "string", default: "20" },
  },
});
const goFuse = "github.com/hanwen/go-fuse/v2@v2.12.1";
const work = mkdtempSync(join(tmpdir(), "procscope-bench-"));

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

/** Eight readers at full speed: memory, descriptors and nodes must be the same at the end as after the warm-up. */
async function soak(client: string, seconds: number, server: Server): Promise<void> {
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

/** What both servers are asked for. */
const operations = [
  ["cat", "cat", "mem/heap"],
  ["pread", "pread", "mem/heap"],
  ["readdir-102", "readdir", "many"],
  ["cat-1MiB", "cat", "mem/big"],
] as const;

const servers: Server[] = [];
try {
  const program = buildClient(work);
  const peerProgram = buildPeer();
  const our = fileURLToPath(new URL("./fuse-serve.js", import.meta.url));
  const ours = await startServer(work, "ours", process.execPath, [our]);
  servers.push(ours);
  const peer = { ...(await startServer(work, "theirs", peerProgram, [])), what: goFuse };
  servers.push(peer);
  const rounds = { program, seconds: Number(values.seconds), rounds: Number(values.rounds) };
  const all = allCpus();
  for (const [placement, prefix] of [
    ["free", ["env"]],
    ["one-cpu", ["taskset", "1"]],
  ] as const) {
    if (rounds.rounds === 0) break;
    for (const { pid } of servers) place(pid, placement === "free" ? all : "1");
    for (const [name, mode, file] of operations) {
      compare(`fuse/${name}/${placement}`, { ...rounds, prefix }, [mode, file], ours, peer);
    }
  }
  for (const { pid } of servers) place(pid, all);
  if (Number(values.soak) > 0) await soak(program, Number(values.soak), ours);
} finally {
  for (const server of servers) await stopServer(server);
  rmSync(work, { recursive: true, force: true });
}
