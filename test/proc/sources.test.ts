/** The procfs sources on living processes and on a made-up /proc. (The BPF source is held against them elsewhere.) */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { FS, info } from "../../src/proc/index.ts";
import { ProcfsSource } from "../../src/proc/sources/procfs.ts";
import { GatedProcfsSource } from "../../src/proc/sources/procfs-gated.ts";
import { Field, type ProcessColumns, type ProcessSource } from "../../src/proc/sources/source.ts";
import { readProcIoFields, statusFixture } from "./fixtures.ts";

type Name = Exclude<keyof ProcessColumns, "commBytes">;
const value = (source: ProcessSource, pid: number, name: Name): number =>
  source.processes.columns[name][source.processes.find(pid)]!;

for (const make of [() => new ProcfsSource(), () => new GatedProcfsSource()]) {
  describe(`source ${make().name}`, () => {
    const children: ChildProcess[] = [];
    let source: ProcfsSource;
    const scan = (threads = false): void => source.scan({ threads, wchan: true });
    before(() => {
      source = make();
    });
    after(() => {
      source.close();
      for (const child of children) child.kill("SIGKILL");
    });

    it("sees this process as /proc/self has it", () => {
      scan();
      const { pid } = process;
      const row = source.processes.find(pid);
      assert.equal(source.processes.comm[row], "node");
      assert.equal(value(source, pid, "ppid"), process.ppid);
      assert.equal(value(source, pid, "uid"), process.geteuid!());
      assert.ok(Math.abs(value(source, pid, "residentBytes") - process.memoryUsage.rss()) < 30e6);
      assert.ok(value(source, pid, "peakBytes") >= value(source, pid, "residentBytes") * 0.9);
      const { user, system } = process.cpuUsage();
      const counted = (value(source, pid, "utime") + value(source, pid, "stime")) / 1e3;
      assert.ok(
        counted <= user + system + 60_000 && counted > (user + system) * 0.5,
        `${counted} and ${user + system}`,
      );
      assert.ok(value(source, pid, "openFiles") >= 10);
      const soft = /Max open files\s+(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"))![1];
      assert.equal(value(source, pid, "fileLimit"), Number(soft));
      assert.equal(value(source, pid, "kernelThread"), 0);
      assert.equal(
        value(source, pid, "valid") & (Field.io | Field.files | Field.switches),
        Field.io | Field.files | Field.switches,
      );
    });

    it("sees children begin and end, and what they use", async () => {
      const child = spawn(
        "bash",
        ["-c", "read -r; i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; echo done; read -r"],
        {
          stdio: ["pipe", "pipe", "ignore"],
        },
      );
      children.push(child);
      const pid = child.pid!;
      await delay(150);
      scan();
      assert.ok(source.processes.born.includes(source.processes.find(pid)));
      scan();
      // It may still be on its way to its first read(2).
      for (let i = 0; i < 500; i++) {
        scan();
        if (source.name !== "procfs-gated" || value(source, pid, "changed") === 0) break;
        await delay(20);
      }
      const before = value(source, pid, "utime");
      if (source.name === "procfs-gated") assert.equal(value(source, pid, "changed"), 0);
      child.stdin!.write("\n");
      await new Promise((resolve) => child.stdout!.once("data", resolve));
      scan();
      const row = source.processes.find(pid);
      assert.equal(value(source, pid, "changed"), 1);
      assert.ok(value(source, pid, "utime") > before);
      // It has written its line but may not be back in read(2) yet.
      for (let i = 0; i < 500 && value(source, pid, "wchan") === 0; i++) {
        await delay(20);
        scan();
      }
      assert.notEqual(source.processes.names[value(source, pid, "wchan")], "");
      child.kill("SIGKILL");
      await new Promise((resolve) => child.once("exit", resolve));
      scan();
      assert.ok(source.processes.gone.includes(row));
      scan();
      assert.equal(source.processes.find(pid), -1);
    });

    it("tells an exec from a rename", async () => {
      const child = spawn("bash", ["-c", "read -r; exec -a other bash -c 'read -r'"], {
        stdio: ["pipe", "ignore", "ignore"],
      });
      children.push(child);
      await delay(500);
      scan();
      const mark = value(source, child.pid!, "execMark");
      scan();
      assert.equal(value(source, child.pid!, "execMark"), mark);
      child.stdin!.write("\n");
      for (let i = 0; i < 500 && value(source, child.pid!, "execMark") === mark; i++) {
        await delay(20);
        scan();
      }
      assert.notEqual(value(source, child.pid!, "execMark"), mark);
    });

    it("reads threads only when asked, and their counters add up", async () => {
      // Threads that ended are in the sum of the process only: growth is compared while none ends.
      const work = `const { parentPort } = require("node:worker_threads");
        parentPort.on("message", () => {
          const begin = process.cpuUsage();
          for (;;) { const { user, system } = process.cpuUsage(begin); if (user + system > 250_000) break; }
          parentPort.postMessage("done");
        });`;
      const worker = new Worker(work, { eval: true });
      try {
        const opened = source.threads.generation;
        scan(false);
        assert.equal(source.threads.generation, opened);
        const used = (): { threads: number; count: number; whole: number } => {
          scan(true);
          const row = source.processes.find(process.pid);
          const { columns, live, count } = source.threads;
          const own = [...live.subarray(0, count)].filter((thread) => columns.process[thread] === row);
          const threads = own.reduce((sum, thread) => sum + columns.utime[thread]! + columns.stime[thread]!, 0);
          const whole = value(source, process.pid, "utime") + value(source, process.pid, "stime");
          return { threads, count: own.length, whole };
        };
        await delay(100);
        const before = used();
        worker.postMessage("work");
        await new Promise((resolve) => worker.once("message", resolve));
        const after = used();
        assert.equal(after.count, value(source, process.pid, "threads"));
        const [grown, expected] = [after.threads - before.threads, after.whole - before.whole];
        assert.ok(expected >= 1e8, `${expected}`);
        assert.ok(Math.abs(grown - expected) < 1e8, `${grown} of ${expected}`);
      } finally {
        await worker.terminate();
      }
    });

    it("keeps no descriptors of the dead, and none after close()", async () => {
      const many = Array.from({ length: 30 }, () => spawn("sleep", ["100"], { stdio: "ignore" }));
      const theirs = new RegExp(`^/proc/(${many.map((child) => child.pid).join("|")})/`);
      /** How many of our descriptors are files of these processes. */
      const count = (): number => {
        let held = 0;
        for (const fd of readdirSync("/proc/self/fd")) {
          try {
            if (theirs.test(readlinkSync(`/proc/self/fd/${fd}`))) held++;
          } catch {
            // The descriptor of the listing itself.
          }
        }
        return held;
      };
      children.push(...many);
      const one = make();
      const gated = one.name === "procfs-gated";
      await delay(200);
      for (let i = 0; i < 3; i++) one.scan({ threads: true, wchan: false });
      assert.equal(count(), gated ? 30 : 0);
      for (const child of many.slice(0, 20)) child.kill("SIGKILL");
      await Promise.all(many.slice(0, 20).map((child) => new Promise((resolve) => child.once("exit", resolve))));
      one.scan({ threads: true, wchan: false });
      assert.equal(count(), gated ? 10 : 0);
      one.close();
      assert.equal(count(), 0);
      for (const child of many.slice(20)) child.kill("SIGKILL");
    });
  });
}

describe("a made-up /proc", () => {
  const root = mkdtempSync(join(tmpdir(), "procscope-proc-"));
  const write = (pid: number, files: Record<string, string>): void => {
    mkdirSync(join(root, String(pid), "fd"), { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, String(pid), name), text);
  };
  before(() => {
    writeFileSync(join(root, "stat"), "cpu 1 2 3\nbtime 1508450000\n");
    // The command name is hostile: it looks like the rest of the line.
    const stat = `14804 (a) R 1 (b) S 10884 14895 10884 34834 14895 4194304 1603 0 767 0 10 4 0 0 20 0 7 0 324219 17174528 1968 18446744073709551615 ${Array(22).fill("0").join(" ")} 77 0\n`;
    write(14804, {
      stat,
      status: statusFixture,
      io: "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 1814455\nwrite_bytes: 9007199254740991\ncancelled_write_bytes: 0\n",
      limits:
        "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 4096                 files     \n",
      cmdline: "./process-exporter\0-procnames\0bash\0",
      wchan: "0",
    });
    for (let i = 0; i < 5; i++) writeFileSync(join(root, "14804/fd", String(i)), "");
    write(7, { stat: "not a stat file" });
    write(8, {});
    mkdirSync(join(root, "self"));
  });
  after(() => rmSync(root, { recursive: true, force: true }));

  it("is read field by field; what is broken loses nothing else", () => {
    const source = new ProcfsSource({ mount: root });
    source.scan({ threads: false, wchan: true });
    assert.equal(source.processes.count, 1);
    assert.equal(source.processes.unreadable, 1);
    const row = source.processes.find(14804);
    assert.equal(source.processes.comm[row], "a) R 1 (b");
    assert.equal(value(source, 14804, "ppid"), 10884);
    assert.equal(value(source, 14804, "utime"), 1e8);
    assert.equal(value(source, 14804, "stime"), 4e7);
    assert.equal(value(source, 14804, "minorFaults"), 0x643);
    assert.equal(value(source, 14804, "majorFaults"), 0x2ff);
    assert.equal(value(source, 14804, "threads"), 7);
    assert.equal(source.processes.startTicks[row], 324219);
    assert.equal(value(source, 14804, "virtualBytes"), 0x1061000);
    assert.equal(value(source, 14804, "residentBytes"), 0x7b0000);
    assert.equal(value(source, 14804, "swapBytes"), 0x2800);
    assert.equal(value(source, 14804, "voluntarySwitches"), 72);
    assert.equal(value(source, 14804, "nonvoluntarySwitches"), 6);
    assert.equal(value(source, 14804, "readBytes"), 1814455);
    assert.equal(value(source, 14804, "writeBytes"), 9007199254740991);
    assert.equal(value(source, 14804, "openFiles"), 5);
    assert.equal(value(source, 14804, "fileLimit"), 1024);
    assert.equal(value(source, 14804, "execMark"), 77);
    rmSync(join(root, "14804/io"));
    source.scan({ threads: false, wchan: true });
    assert.equal(value(source, 14804, "valid") & Field.io, 0);
    assert.equal(value(source, 14804, "valid") & Field.switches, Field.switches);
  });

  it("is read by the library too", () => {
    writeFileSync(join(root, "14804/io"), readProcIoFields(1, 2));
    const all = info(new FS(root).proc(14804));
    assert.deepEqual(all.cmdline, ["./process-exporter", "-procnames", "bash"]);
    assert.equal(all.cpuTime, 0.14);
    assert.equal(all.startTime.toISOString(), "2017-10-19T22:47:22.190Z");
    assert.deepEqual([all.readBytes, all.writeBytes], [1n, 2n]);
  });

  it("has no gate", () => {
    assert.throws(() => new GatedProcfsSource({ mount: root }), { code: "UNSUPPORTED_HERE" });
  });
});
