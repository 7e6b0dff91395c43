import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chownSync, existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { KernelSymbols } from "../../src/kernel/kallsyms.ts";
import { PerfSession } from "../../src/kernel/perf-event.ts";
import { PerfMap } from "../../src/kernel/perf-map.ts";
import { compiled, endProcess, isRoot, runAsNobody } from "./targets.ts";

const asRoot = isRoot ? {} : { skip: "needs root" };

describe("kernel symbols", asRoot, () => {
  test("every hundredth text symbol is found at its address and just behind it", () => {
    const symbols = KernelSymbols.read();
    assert.ok(symbols && symbols.count > 10_000, `${symbols?.count} symbols`);
    const lines = readFileSync("/proc/kallsyms", "latin1")
      .split("\n")
      .filter((line) => /^[0-9a-f]{16} [tTwW] /.test(line));
    const atAddress = new Map<string, Set<string>>();
    for (const line of lines) {
      const [address, , name] = [line.slice(0, 16), 0, line.slice(19).replace("\t", " ")];
      atAddress.set(address, (atAddress.get(address) ?? new Set()).add(name));
    }
    let checked = 0;
    for (let i = 0; i < lines.length; i += 100) {
      const hex = lines[i]!.slice(0, 16);
      const address = Number(BigInt.asIntN(64, BigInt(`0x${hex}`)));
      assert.ok(atAddress.get(hex)!.has(symbols.lookup(address) ?? ""), `${hex} is ${symbols.lookup(address)}`);
      checked++;
    }
    assert.ok(checked > 100);
  });

  test("kernel frames of a sampled system call are named", async () => {
    const child = spawn("dd", ["if=/dev/zero", "of=/dev/null", "bs=64k"], { stdio: "ignore" });
    try {
      await sleep(50);
      const session = PerfSession.open({ pid: child.pid!, frequency: 499 });
      await sleep(500);
      const batch = session.stop();
      const symbols = KernelSymbols.read()!;
      const seen = new Set<string>();
      for (let i = 0; i < batch.count; i++) {
        for (let k = batch.frameStart[i]!; k < batch.userStart[i]!; k++)
          seen.add(symbols.lookup(batch.frames[k]!) ?? "?");
      }
      assert.ok(
        [...seen].some((name) => /read_zero|read_iter_zero|vfs_read|do_syscall_64|el0_svc/.test(name)),
        [...seen].join(),
      );
    } finally {
      await endProcess(child);
    }
  });

  test("zeros for those without rights are no symbols", () => {
    assert.equal(KernelSymbols.parse(Buffer.from("0000000000000000 T _stext\n0000000000000000 t foo\n")), undefined);
    const out = runAsNobody(`import { KernelSymbols } from ${JSON.stringify(compiled("kernel/kallsyms.js"))};
      console.log(KernelSymbols.read() === undefined ? "none" : "some");`);
    const restricted = readFileSync("/proc/sys/kernel/kptr_restrict", "latin1").trim() !== "0";
    const paranoid = Number(readFileSync("/proc/sys/kernel/perf_event_paranoid", "latin1"));
    assert.equal(out.trim(), restricted || paranoid > 1 ? "none" : "some");
  });
});

describe("perf maps", () => {
  test("of overlapping lines the last one wins, as for one address after another", () => {
    const line = fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 20 }));
    fc.assert(
      fc.property(fc.array(line, { maxLength: 30 }), (lines) => {
        const text = lines
          .map(([start, size], i) => `${(start + 4096).toString(16)} ${size.toString(16)} f${i}\n`)
          .join("");
        const map = PerfMap.parse(Buffer.from(text));
        for (let at = 4090; at < 4096 + 90; at++) {
          const last = lines.findLastIndex(([start, size]) => at >= start + 4096 && at < start + 4096 + size);
          assert.equal(map.lookup(at), last < 0 ? undefined : `f${last}`);
        }
      }),
    );
  });

  test("lines that are none are skipped", () => {
    const map = PerfMap.parse(
      Buffer.from("zz 10 bad\n1000\n1000 10\n1000 10 \n2000 10 good name\nffffffffffffffff 10 far\n3000 8 last"),
    );
    assert.equal(map.count, 2);
    assert.equal(map.lookup(0x2004), "good name");
    assert.equal(map.lookup(0x3007), "last");
    assert.equal(map.lookup(0x3008), undefined);
  });

  test("the map of a running Node program names its function", async () => {
    const script = "function burnHere(n){let s=0;for(let i=0;i<n;i++)s+=Math.sqrt(i);return s} for(;;)burnHere(1e6)";
    const child = spawn(process.execPath, ["--perf-basic-prof", "-e", script], { stdio: "ignore", cwd: "/tmp" });
    try {
      const path = `/tmp/perf-${child.pid}.map`;
      const written = (): boolean => existsSync(path) && readFileSync(path, "utf8").includes("burnHere");
      for (let i = 0; i < 200 && !written(); i++) await sleep(50);
      const session = PerfSession.open({ pid: child.pid!, frequency: 499, kernel: false });
      await sleep(1000);
      const batch = session.stop();
      // After the samples: optimised code gets its name when it is made, while they are taken.
      const map = PerfMap.read(child.pid!);
      assert.ok(map && map.count > 100 && map.note === "", `${map?.count} names`);
      let named = 0;
      for (let i = 0; i < batch.count; i++) {
        const user = [...batch.frames.subarray(batch.userStart[i]!, batch.frameStart[i + 1]!)];
        if (user.some((address) => map.lookup(address)?.includes("burnHere"))) named++;
      }
      assert.ok(batch.count > 0 && named > batch.count / 2, `${named} of ${batch.count} samples are in burnHere`);
    } finally {
      await endProcess(child);
      rmSync(`/tmp/perf-${child.pid}.map`, { force: true });
    }
  });

  test("a map of another user, a link and a missing process are not read", asRoot, async () => {
    const child = spawn("sleep", ["20"], { stdio: "ignore" });
    const path = `/tmp/perf-${child.pid}.map`;
    rmSync(path, { force: true });
    try {
      assert.equal(PerfMap.read(child.pid!), undefined);
      symlinkSync("/etc/passwd", path);
      assert.equal(PerfMap.read(child.pid!), undefined);
      rmSync(path);
      writeFileSync(path, "1000 10 forged\n");
      chownSync(path, 65534, 65534);
      assert.match(PerfMap.read(child.pid!)?.note ?? "", /not owned/);
      assert.equal(PerfMap.read(child.pid!)?.lookup(0x1004), undefined);
      chownSync(path, 0, 0);
      assert.equal(PerfMap.read(child.pid!)?.lookup(0x1004), "forged");
      assert.throws(() => PerfMap.read(4194303), { code: "NO_PROCESS" });
    } finally {
      rmSync(path, { force: true });
      await endProcess(child);
    }
    assert.ok(!existsSync(path));
  });

  test("the map of a program in its own root and pid namespace is found", asRoot, async () => {
    const script = "mount -t tmpfs none /tmp && echo '1000 10 inner' > /tmp/perf-1.map && exec sleep 20";
    const child = spawn("unshare", ["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script], {
      stdio: "ignore",
    });
    try {
      const innerPid = (): number =>
        Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "latin1").trim().split(" ")[0]);
      const found = (): string | undefined => {
        try {
          return PerfMap.read(innerPid())?.lookup(0x1008);
        } catch {
          return undefined; // it has not started yet
        }
      };
      for (let i = 0; i < 300 && found() === undefined; i++) await sleep(50);
      assert.equal(found(), "inner");
    } finally {
      await endProcess(child);
    }
  });
});
