import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openBpfSource } from "../../src/proc/sources/bpf.ts";
import { compareSources } from "../../src/proc/sources/compare.ts";
import { openSource } from "../../src/proc/sources/open.ts";
import { Field, type ProcessSource } from "../../src/proc/sources/source.ts";
import { compiled, cTarget, ending, endProcess, isRoot, runAsNobody, startReady } from "../kernel/targets.ts";

const asRoot = isRoot ? {} : { skip: "needs root" };
const request = { threads: true, wchan: true };

/** Processes that the kernel of this machine keeps from BPF, as the source's notes say. */
function hidden(source: ProcessSource): number[] {
  const note = source.notes.find((line) => line.includes("hides from BPF"));
  return (note?.match(/process (.*)$/)?.[1] ?? "").split(", ").filter(Boolean).map(Number);
}

describe("the BPF source", asRoot, () => {
  let load: ChildProcess;
  let source: ProcessSource;
  before(async () => {
    load = spawn(cTarget("many"), ["200", "1200"], { stdio: ["pipe", "pipe", "inherit"], detached: true });
    await new Promise((resolve) => load.stdout?.once("data", resolve));
    source = openBpfSource();
  });
  after(async () => {
    source?.close();
    load.stdin?.end();
    await sleep(200);
    await endProcess(load);
  });

  test("its rows are those of /proc", () => {
    for (const name of ["procfs", "procfs-gated"] as const) {
      const other = openSource(name);
      const result = compareSources(other, source);
      assert.ok(
        result.processes > 200 && result.compared > result.processes * 15,
        `${result.processes} ${result.compared}`,
      );
      assert.deepEqual(result.differences, []);
      assert.deepEqual(result.onlySecond, []);
      assert.deepEqual(result.onlyFirst, hidden(source));
      other.close();
    }
  });

  test("command names, wait channels and kernel threads are right, and no field is missing", () => {
    source.scan(request);
    const { processes } = source;
    const { columns } = processes;
    const all = Object.values(Field).reduce((sum, bit) => sum | bit, 0);
    let services = 0;
    let waits = 0;
    for (let i = 0; i < processes.count; i++) {
      const row = processes.live[i]!;
      const pid = processes.id[row]!;
      if (columns.ppid[row] === load.pid) {
        assert.match(processes.comm[row]!, /^svc\d\d$/);
        services++;
        assert.equal(columns.valid[row], all, `valid of ${processes.comm[row]}`);
        assert.equal(readFileSync(`/proc/${pid}/comm`, "utf8").trim(), processes.comm[row]);
        assert.equal(columns.kernelThread[row], 0);
        assert.equal(
          columns.fileLimit[row],
          Number(/^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, "utf8"))![1]),
        );
        if (processes.names[columns.wchan[row]!] === readFileSync(`/proc/${pid}/wchan`, "utf8")) waits++;
      }
      if (pid === 2) assert.equal(columns.kernelThread[row], 1);
    }
    assert.equal(services, 200);
    assert.ok(waits >= 195, `${waits} of 200 wait where procfs says`);
  });

  test("threads are those of /proc/PID/task, of processes with more than one", () => {
    source.scan(request);
    const { processes, threads } = source;
    const byProcess = new Map<number, number[]>();
    for (let i = 0; i < threads.count; i++) {
      const row = threads.live[i]!;
      const pid = processes.id[threads.columns.process[row]!]!;
      byProcess.set(pid, [...(byProcess.get(pid) ?? []), threads.id[row]!]);
      if (threads.comm[row]!.startsWith("worker-"))
        assert.match(processes.comm[threads.columns.process[row]!]!, /^svc/);
    }
    let compared = 0;
    for (let i = 0; i < processes.count; i++) {
      const row = processes.live[i]!;
      if (processes.columns.ppid[row] !== load.pid) continue;
      const tids = readdirSync(`/proc/${processes.id[row]}/task`).map(Number).sort();
      assert.deepEqual((byProcess.get(processes.id[row]!) ?? []).sort(), tids.length > 1 ? tids : []);
      compared += tids.length > 1 ? 1 : 0;
    }
    assert.equal(compared, 20);
  });

  test("counters never decrease over scans while processes come, run and go", async () => {
    const busy = spawn(
      "sh",
      ["-c", "for i in $(seq 40); do sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done'; done"],
      { stdio: "ignore" },
    );
    try {
      const last = new Map<string, number[]>();
      for (let round = 0; round < 40; round++) {
        source.scan(request);
        const { processes } = source;
        const { columns: c } = processes;
        for (let i = 0; i < processes.count; i++) {
          const row = processes.live[i]!;
          const key = `${processes.id[row]}:${processes.startTicks[row]}`;
          const now = [
            c.utime,
            c.stime,
            c.readBytes,
            c.writeBytes,
            c.minorFaults,
            c.majorFaults,
            c.voluntarySwitches,
          ].map((column) => column[row]!);
          const was = last.get(key);
          if (was)
            for (const [k, value] of now.entries())
              assert.ok(value >= was[k]!, `${key} counter ${k}: ${was[k]} then ${value}`);
          last.set(key, now);
        }
        await sleep(20);
      }
      assert.ok(last.size > 230);
    } finally {
      await endProcess(busy);
    }
  });

  test("an exec changes the mark, a rename does not", async () => {
    const child = spawn("sh", ["-c", "echo ready; read line; exec sleep 30"], { stdio: ["pipe", "pipe", "inherit"] });
    try {
      await once(child.stdout!, "data");
      const look = (): [string, number] => {
        source.scan(request);
        const row = source.processes.find(child.pid!);
        return [source.processes.comm[row]!, source.processes.columns.execMark[row]!];
      };
      const [shell, before] = look();
      assert.equal(shell, "sh");
      child.stdin!.write("go\n");
      let [name, mark] = look();
      for (let i = 0; i < 500 && name === "sh"; i++) {
        await sleep(20);
        [name, mark] = look();
      }
      assert.equal(name, "sleep");
      assert.notEqual(mark, before);
    } finally {
      await endProcess(child);
    }
  });

  test("open files beyond what the program counts are told too, and unlimited is Infinity", async () => {
    const script = `
      const fs = require("fs"); const n = 17000; for (let i = 0; i < n; i++) fs.openSync("/dev/null"); console.log("ready"); setTimeout(() => {}, 30000)`;
    const child = await startReady(process.execPath, ["-e", script]);
    try {
      source.scan(request);
      const row = source.processes.find(child.pid!);
      assert.equal(source.processes.columns.openFiles[row], readdirSync(`/proc/${child.pid}/fd`).length);
      assert.ok(source.processes.columns.openFiles[row]! > 17_000);
      execFileSync("prlimit", ["--pid", String(child.pid), "--nofile=1000:20000"]);
      source.scan(request);
      assert.equal(source.processes.columns.fileLimit[row], 1000);
    } finally {
      await endProcess(child);
    }
  });

  test("a process that stays asleep is told as unchanged, a busy one as changed", async () => {
    source.scan(request);
    await sleep(500);
    source.scan(request);
    const { processes } = source;
    let unchanged = 0;
    for (let i = 0; i < processes.count; i++) unchanged += processes.columns.changed[processes.live[i]!] === 0 ? 1 : 0;
    assert.ok(unchanged > 150, `${unchanged} of ${processes.count} unchanged`);
    assert.equal(processes.columns.changed[processes.find(process.pid)], 1);
  });

  test("two capabilities are enough, without root", () => {
    const sources = JSON.stringify(compiled("proc/sources/bpf.js"));
    const exits = JSON.stringify(compiled("proc/sources/exits.js"));
    const script = `import { openBpfSource } from ${sources}; import { openBpfExits } from ${exits};
      const s = openBpfSource(); s.scan({ threads: true, wchan: true });
      console.log(JSON.stringify({ uid: process.geteuid(), count: s.processes.count, exits: openBpfExits().name }));`;
    const got = JSON.parse(runAsNobody(script, ["bpf", "perfmon"])) as { uid: number; count: number; exits: string };
    assert.equal(got.uid, 65534);
    assert.ok(got.count > 200);
    assert.equal(got.exits, "bpf");
  });

  test("without rights, and in a pid namespace, it says what to do", () => {
    const url = JSON.stringify(compiled("proc/sources/bpf.js"));
    const say = `import { openBpfSource } from ${url}; try { openBpfSource(); console.log("{}"); } catch (e) { console.log(JSON.stringify({ code: e.code, hint: e.hint })); }`;
    const refused = JSON.parse(runAsNobody(say)) as { code: string; hint: string };
    assert.equal(refused.code, "PERMISSION");
    assert.match(refused.hint, /CAP_BPF and CAP_PERFMON/);
    const inside = execFileSync(
      "unshare",
      ["--pid", "--fork", "--mount-proc", process.execPath, ...ending, "--input-type=module", "-e", say],
      { encoding: "utf8", timeout: 120_000 },
    );
    const foreign = JSON.parse(inside) as { code: string; hint: string };
    assert.equal(foreign.code, "UNSUPPORTED_HERE");
    assert.match(foreign.hint, /hostPID/);
  });
});
