import assert from "node:assert/strict";
import { type ChildProcess, execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { PerfMode, PerfOptions } from "../../src/kernel/perf-event.ts";
import { PerfSession } from "../../src/kernel/perf-event.ts";
import { compiled, cTarget, endProcess, isRoot, runAsNobody, startReady } from "./targets.ts";

const asRoot = isRoot ? {} : { skip: "needs root" };
const x86Registers = (1 << 6) | (1 << 7) | (1 << 8);

/** [start, end) of each function of a binary as it lies in the process. */
function functionsOf(child: ChildProcess, binary: string): Map<string, [number, number]> {
  const maps = readFileSync(`/proc/${child.pid}/maps`, "utf8").split("\n");
  const first = maps.find((line) => line.endsWith(binary))!;
  const base = Number.parseInt(first.split("-")[0]!, 16);
  const lines = execFileSync("nm", ["-S", "--defined-only", binary], { encoding: "utf8" }).split("\n");
  const functions = new Map<string, [number, number]>();
  for (const line of lines) {
    const m = /^([0-9a-f]+) ([0-9a-f]+) [tT] (\w+)$/.exec(line);
    if (m)
      functions.set(m[3]!, [
        base + Number.parseInt(m[1]!, 16),
        base + Number.parseInt(m[1]!, 16) + Number.parseInt(m[2]!, 16),
      ]);
  }
  return functions;
}

interface Tally {
  samples: number;
  stacks: Map<string, number>;
  tids: Set<number>;
  registersRight: number;
  lost: number;
}

/** Samples a target until it ends and names the frames of its own functions. */
async function tally(
  options: Omit<PerfOptions, "pid">,
  args: readonly string[],
): Promise<Tally & { session: PerfSession; cpu: number }> {
  const binary = cTarget("threads");
  const child = await startReady(binary, args);
  try {
    const functions = [...functionsOf(child, binary)];
    const name = (address: number): string | undefined =>
      functions.find(([, [start, end]]) => address >= start && address < end)?.[0];
    const session = PerfSession.open({ pid: child.pid!, ...options });
    const cpuBefore = cpuOf(child.pid!);
    let cpu = 0;
    const result: Tally = { samples: 0, stacks: new Map(), tids: new Set(), registersRight: 0, lost: 0 };
    for (let i = 0; i < 1500 && child.exitCode === null; i++) {
      await sleep(40);
      cpu = Math.max(cpu, cpuOf(child.pid!));
      add(session.drain(), result, name);
    }
    add(session.stop(), result, name);
    result.lost = session.batch.lost;
    return { ...result, session, cpu: cpu - cpuBefore };
  } finally {
    await endProcess(child);
  }
}

function add(batch: PerfSession["batch"], result: Tally, name: (address: number) => string | undefined): void {
  for (let i = 0; i < batch.count; i++) {
    result.samples++;
    result.tids.add(batch.tid[i]!);
    const user = [...batch.frames.subarray(batch.userStart[i]!, batch.frameStart[i + 1]!)];
    for (const frame of batch.frames.subarray(batch.frameStart[i]!, batch.userStart[i]!))
      assert.ok(frame < 0, "kernel frames first");
    const stack = user
      .map((address, k) => name(k === 0 ? address : address - 1))
      .filter((known) => known !== undefined)
      .join(" < ");
    result.stacks.set(stack, (result.stacks.get(stack) ?? 0) + 1);
    const ip = batch.registers[i * batch.registerCount + 2];
    if (batch.hasRegisters[i] && ip === user[0]) result.registersRight++;
  }
}

/** Seconds of CPU by schedstat of all threads, 0 where the process is gone. */
function cpuOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}

describe("perf events", asRoot, () => {
  for (const mode of ["inherit", "per-thread", "system"] as PerfMode[]) {
    test(`${mode}: call chains, registers and late threads of a C program`, async () => {
      const got = await tally({ mode, frequency: 499, registers: x86Registers, stackBytes: 64 }, ["4", "0.5", "100"]);
      assert.equal(got.session.mode, mode);
      assert.equal(got.lost, 0, "lost");
      assert.equal(got.session.batch.malformed, 0, "malformed");
      const early = got.stacks.get("spin_leaf < spin_middle < spin_root") ?? 0;
      const late = got.stacks.get("spin_leaf < spin_middle < spin_root < late_root") ?? 0;
      assert.ok(
        early > got.samples * 0.25 && late > got.samples * 0.25,
        `early ${early} late ${late} of ${got.samples}: ${[...got.stacks].join("; ")}`,
      );
      assert.ok(got.tids.size >= 4, `${got.tids.size} threads sampled`);
      assert.ok(
        got.registersRight > got.samples * 0.9,
        `IP register is the first frame in ${got.registersRight} of ${got.samples}`,
      );
      // Each sample stands for 1/499 s of CPU: against what the kernel charged while we looked.
      const seconds = got.samples / 499;
      assert.ok(Math.abs(seconds - got.cpu) < got.cpu * 0.15 + 0.1, `${seconds} s sampled, ${got.cpu} s charged`);
    });
  }

  test("the sampled stack bytes hold the return address of the frame", async () => {
    const binary = cTarget("threads");
    const child = await startReady(binary, ["2", "5", "0"]);
    try {
      const session = PerfSession.open({ pid: child.pid!, frequency: 199, registers: x86Registers, stackBytes: 256 });
      const before = cpuOf(child.pid!);
      for (let i = 0; i < 600 && cpuOf(child.pid!) < before + 0.6; i++) await sleep(50);
      const batch = session.stop();
      let held = 0;
      for (let i = 0; i < batch.count; i++) {
        const caller = batch.frames[batch.userStart[i]! + 1];
        const start = batch.stackStart[i]!;
        for (let k = 0; k + 8 <= batch.stackLength[i]!; k += 8) {
          if (Number(batch.stack.readBigUInt64LE(start + k)) === caller) {
            held++;
            break;
          }
        }
      }
      assert.ok(batch.count > 50, `${batch.count} samples`);
      assert.ok(held > batch.count * 0.9, `${held} of ${batch.count} stacks hold their caller`);
    } finally {
      await endProcess(child);
    }
  });

  test("changes are told: comm, new mappings, forks and exits of threads", async () => {
    const binary = cTarget("threads");
    const child = await startReady(binary, ["4", "0.3", "2000"]);
    try {
      const session = PerfSession.open({ pid: child.pid!, frequency: 99 });
      const kinds = new Set<string>();
      for (let i = 0; i < 500 && child.exitCode === null; i++) {
        await sleep(60);
        for (const change of session.drain().changes) {
          kinds.add(change.kind);
          assert.equal(change.pid, child.pid);
          assert.ok(
            change.time > 0 && Math.abs(change.time - Number(process.hrtime.bigint())) < 10e9,
            "hrtime's clock",
          );
        }
      }
      session.close();
      session.close();
      assert.ok(kinds.has("fork") && kinds.has("exit"), [...kinds].join());
    } finally {
      await endProcess(child);
    }
  });

  test("a process that is not there is said so", () => {
    assert.throws(() => PerfSession.open({ pid: 4194303 }), { code: "NO_PROCESS" });
  });

  test("rings are unmapped once nothing refers to them, and the process lives", () => {
    const script = `
      import { PerfSession } from ${JSON.stringify(compiled("kernel/perf-event.js"))};
      import { readFileSync } from "node:fs";
      const rings = () => readFileSync("/proc/self/maps", "utf8").split("\\n").filter((l) => l.includes("perf_event")).length;
      for (let i = 0; i < 20; i++) { const s = PerfSession.open({ pid: process.pid, ringPages: 8 }); s.drain(); s.close(); }
      const most = rings();
      for (let i = 0; i < 20; i++) { globalThis.gc(); await new Promise((r) => setTimeout(r, 10)); }
      console.log(JSON.stringify({ most, left: rings() }));`;
    const out = execFileSync(process.execPath, ["--expose-gc", "--input-type=module", "-e", script], {
      encoding: "utf8",
    });
    const { most, left } = JSON.parse(out) as { most: number; left: number };
    assert.ok(most >= 20 && left <= 4, out);
  });
});

describe("perf events without rights", asRoot, () => {
  const prelude = `
    import { PerfSession } from ${JSON.stringify(compiled("kernel/perf-event.js"))};
    const say = (f) => { try { return f(); } catch (e) { return { code: e.code, message: e.message, hint: e.hint }; } };`;

  test("the own process is sampled without kernel frames", () => {
    const out = runAsNobody(`${prelude}
      const s = PerfSession.open({ pid: process.pid, frequency: 499 });
      const used = () => process.cpuUsage().user; const end = used() + 400_000; while (used() < end);
      const b = s.stop(); let kernel = 0; for (let i = 0; i < b.frameStart[b.count]; i++) if (b.frames[i] < 0) kernel++;
      console.log(JSON.stringify({ count: b.count, kernel, has: s.kernel, notes: s.notes }));`);
    const got = JSON.parse(out) as { count: number; kernel: number; has: boolean; notes: string[] };
    assert.ok(got.count > 50, out);
    assert.equal(got.kernel, 0);
    assert.equal(got.has, false);
    assert.match(got.notes.join(), /perf_event_paranoid/);
  });

  test("another user's process and the whole system are refused by name of what is missing", () => {
    const out = runAsNobody(`${prelude}
      console.log(JSON.stringify([say(() => PerfSession.open({ pid: ${process.pid} }).close()), say(() => PerfSession.open({ pid: 0, mode: "system" }).close())]));`);
    const [other, system] = JSON.parse(out) as { code: string; hint: string }[];
    assert.equal(other!.code, "PERMISSION");
    assert.match(other!.hint, /process's user.*CAP_PERFMON/);
    assert.equal(system!.code, "PERMISSION");
    assert.match(system!.hint, /perf_event_paranoid=0/);
  });

  test("CAP_PERFMON opens other users' processes with kernel frames, CAP_SYS_PTRACE without", () => {
    const script = `${prelude}
      const s = PerfSession.open({ pid: ${process.pid} }); console.log(s.kernel); s.close();`;
    assert.equal(runAsNobody(script, ["perfmon"]).trim(), "true");
    assert.equal(runAsNobody(script, ["sys_ptrace"]).trim(), "false");
  });
});
