/**
 * A day of process churn, compressed: node dist/bench/exporter-churn.js [--processes N]. One JSON line each.
 *
 * `simulated`: N processes (default 100,000) over 300 pids through the grouper, with exit records. `real`: N real
 * processes in a pid namespace whose pid_max is 400 (Linux 6.14), so that each pid is given out hundreds of times,
 * scanned through procfs the while. No counter may decrease, and memory must be flat from the first quarter on.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { packageRoot } from "../src/base/package-root.ts";
import { readBootTime } from "../src/kernel/boot-time.ts";
import { ColumnGrouper } from "../src/proc/column-grouper.ts";
import { Counter } from "../src/proc/group.ts";
import { GatedProcfsSource } from "../src/proc/sources/procfs-gated.ts";
import { churn } from "../test/proc/simulated-grouper.ts";

const { values } = parseArgs({
  options: { processes: { type: "string", default: "100000" }, inside: { type: "string" } },
});
const processes = Number(values.processes);
setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;

function heap(): number {
  gc();
  gc();
  return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
}

function simulated(): void {
  churn(processes / 4, 300);
  const before = heap();
  const begin = performance.now();
  const { decreases, counted, used, rows } = churn(processes, 300);
  const seconds = (performance.now() - begin) / 1000;
  const grown = heap() - before;
  const ok = decreases === 0 && Math.abs(counted - used) < used * 1e-3 && grown < 1 << 20;
  print("exporter-churn-simulated", {
    processes,
    decreases,
    countedShare: counted / used,
    rows,
    heapGrownBytes: grown,
    seconds,
    ok,
  });
}

/** Inside the namespace: scans until the churning program ends. */
async function inside(program: string): Promise<void> {
  const source = new GatedProcfsSource({ mount: "/proc" });
  const grouper = new ColumnGrouper({
    source,
    namer: { name: ({ comm }) => ({ name: comm, labels: {} }), fixedNames: [] },
    mount: "/proc",
    bootTime: readBootTime("/proc"),
    trackChildren: true,
    threads: true,
    wchan: true,
    recheck: true,
    recheckLimit: 0,
    countFromStart: true,
    maxGroups: 100,
    maxThreadNames: 100,
    emptyGroupLife: Number.POSITIVE_INFINITY,
    exitRecords: false,
  });
  let running = true;
  const begin = performance.now();
  // Several at a time, so that scans meet many of them at every stage of their lives.
  const workers = Array.from({ length: 4 }, () =>
    spawn(program, [String(processes / 4), "0", "churned"], { stdio: "ignore" }),
  );
  const ended = Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve))));
  void ended.then(() => {
    running = false;
  });
  const before = new Map<string, Float64Array>();
  let decreases = 0;
  let scans = 0;
  let early = 0;
  let highest = 0;
  const seen = new Set<number>();
  while (running) {
    grouper.update();
    scans++;
    for (const group of grouper.groups) {
      const last = before.get(group.name);
      if (last) for (let i = 0; i < last.length; i++) if (group.counters[i]! < last[i]!) decreases++;
      before.set(group.name, group.counters.slice());
    }
    for (let i = 0; i < source.processes.count; i++) seen.add(source.processes.id[source.processes.live[i]!]!);
    highest = Math.max(highest, ...seen);
    if (scans === 200) early = heap();
    await delay(10);
  }
  const seconds = (performance.now() - begin) / 1000;
  const grown = heap() - early;
  const started = [...grouper.groups].reduce((sum, group) => sum + group.counters[Counter.started]!, 0);
  source.close();
  const rows = source.processes.capacity;
  const ok = decreases === 0 && grown < 1 << 20 && highest < 400;
  print("exporter-churn-real", {
    processes,
    scans,
    seenStarts: started,
    decreases,
    highestPid: highest,
    rows,
    heapGrownBytes: grown,
    seconds,
    ok,
  });
}

function real(): void {
  const folder = mkdtempSync(join(tmpdir(), "procscope-churn-"));
  try {
    const program = join(folder, "churn");
    execFileSync("gcc", ["-O1", "-pthread", "-o", program, join(packageRoot, "targets/churn.c")]);
    const self = process.argv[1]!;
    const script = `echo 400 > /proc/sys/kernel/pid_max && exec "$0" "$1" --processes "$2" --inside "$3"`;
    const words = ["-p", "-f", "--mount-proc", "sh", "-c", script, process.execPath, self, String(processes), program];
    const text = execFileSync("unshare", words, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
    process.stdout.write(text);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function print(name: string, result: Record<string, unknown>): void {
  console.log(JSON.stringify({ name, ...result, goal: "decreases 0, heap grown below 1 MiB" }));
}

if (values.inside !== undefined) await inside(values.inside);
else {
  simulated();
  real();
}
