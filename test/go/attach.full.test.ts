/** Attaching where it is hard: without a file, in namespaces, beside a debugger, without rights, and to what is no Go. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { cTarget, isRoot } from "../kernel/targets.ts";
import { type CliResult, cliPath, procscope } from "../support/cli.ts";
import { build, endChild, GoTarget, startHttp } from "../support/go-target.ts";
import { currentGo } from "../support/go-toolchain.ts";
import { compareGoroutines, type GoroutineText, splitGoroutines } from "../support/goroutine-text.ts";

const folder = mkdtempSync(join(tmpdir(), "procscope-attach-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const rootOnly = isRoot ? false : "needs root";
const nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

const others = (all: readonly GoroutineText[]): GoroutineText[] => all.filter(({ id }) => id !== 1);

/** The dump of `pid` equals what the target says of itself. */
async function assertSame(own: string, dump: CliResult): Promise<void> {
  assert.equal(dump.status, 0, dump.stderr);
  const { equal, differences } = compareGoroutines(others(splitGoroutines(own)), others(splitGoroutines(dump.stdout)));
  assert.deepEqual(differences.slice(0, 2), []);
  assert.ok(equal >= 30, `only ${equal}`);
}

async function ready(target: GoTarget): Promise<string> {
  await target.ask("park 30");
  return target.stacks();
}

const dumpOf = (pid: number, options?: Parameters<typeof procscope>[1]): Promise<CliResult> =>
  procscope(["dump", "--pid", String(pid)], options);

for (const mode of ["strip", "pie-strip"] as const) {
  test(`the program's file was deleted (${mode})`, async () => {
    const path = join(folder, `deleted-${mode}`);
    copyFileSync(await build(currentGo, mode), path);
    await using target = await GoTarget.start(path);
    unlinkSync(path);
    await assertSame(await ready(target), await dumpOf(target.pid));
  });

  test(`the program's file was replaced by another one (${mode})`, async () => {
    const path = join(folder, `replaced-${mode}`);
    copyFileSync(await build(currentGo, mode), path);
    await using target = await GoTarget.start(path);
    copyFileSync("/bin/sleep", `${path}.new`);
    renameSync(`${path}.new`, path);
    await assertSame(await ready(target), await dumpOf(target.pid));
    const list = await procscope(["ps", "--json"]);
    const { processes } = JSON.parse(list.stdout) as {
      processes: { pid: number; deleted: boolean; goVersion: string }[];
    };
    const entry = processes.find(({ pid }) => pid === target.pid);
    assert.deepEqual([entry?.deleted, entry?.goVersion], [true, currentGo]);
  });
}

for (const mode of ["strip", "pie-strip"] as const) {
  test(`the program's file has no section headers, as sstrip leaves it (${mode})`, async () => {
    const path = join(folder, `sstripped-${mode}`);
    const bytes = readFileSync(await build(currentGo, mode));
    bytes.fill(0, 40, 48); // e_shoff
    bytes.fill(0, 60, 64); // e_shnum, e_shstrndx
    writeFileSync(path, bytes, { mode: 0o755 });
    await using target = await GoTarget.start(path);
    await assertSame(await ready(target), await dumpOf(target.pid));
    const list = await procscope(["ps", "--json"]);
    const { processes } = JSON.parse(list.stdout) as { processes: { pid: number; goVersion: string }[] };
    assert.equal(processes.find(({ pid }) => pid === target.pid)?.goVersion, currentGo);
  });
}

test("the program's file can only be seen in the target's mount namespace", { skip: rootOnly }, async () => {
  const mount = join(folder, "mount");
  mkdirSync(mount);
  const script = 'mount -t tmpfs tmpfs "$0" && cp "$1" "$0/program" && exec "$0/program"';
  const command = ["unshare", "-m", "sh", "-c", script, mount];
  await using target = await GoTarget.start(await build(currentGo, "pie-strip"), { command });
  assert.deepEqual(readdirSync(mount), []);
  await assertSame(await ready(target), await dumpOf(target.pid));
});

test("the target has a pid and a user namespace of its own", async () => {
  const command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
  await using target = await GoTarget.start(await build(currentGo, "strip"), { command });
  const pid = await childOf(target.pid);
  await assertSame(await ready(target), await dumpOf(pid));
  const doctor = await procscope(["doctor", String(pid)]);
  assert.match(doctor.stdout, /in a pid namespace of its own, as pid 1/);
});

for (const how of ["running", "stop"]) {
  test(`another debugger traces the target (${how})`, async () => {
    await using target = await GoTarget.start(await build(currentGo, "strip"));
    const own = await ready(target);
    const tracer = spawn(cTarget("tracer"), [String(target.pid), how], { stdio: ["pipe", "pipe", "inherit"] });
    try {
      await once(tracer.stdout!, "data");
      await assertSame(own, await dumpOf(target.pid));
      assert.match(
        (await procscope(["doctor", String(target.pid)])).stdout,
        new RegExp(`traced by process ${tracer.pid} \\(tracer\\)`),
      );
    } finally {
      await endChild(tracer);
    }
    assert.equal((await target.ask("count")).toString("utf8"), "31");
  });
}

test("a user without rights looks into a process of their own", { skip: rootOnly }, async () => {
  const path = join(folder, "own");
  copyFileSync(await build(currentGo, "strip"), path);
  makeReachable();
  await using target = await GoTarget.start(path, { command: nobody });
  await assertSame(await ready(target), await dumpOf(target.pid, { by: nobody }));
});

test("a user without rights is told what is missing for another user's process", { skip: rootOnly }, async () => {
  await using target = await GoTarget.start(await build(currentGo, "strip"));
  const own = await ready(target);
  const refused = await dumpOf(target.pid, { by: nobody });
  assert.equal(refused.status, 3, refused.stderr);
  assert.match(refused.stderr, /belongs to uid 0/);
  assert.match(refused.stderr, /sys_ptrace/);
  const able = [...nobody, "--inh-caps=+sys_ptrace", "--ambient-caps=+sys_ptrace"];
  await assertSame(own, await dumpOf(target.pid, { by: able }));
  const withoutFfi = await dumpOf(target.pid, { by: able, env: withoutKoffi() });
  assert.equal(withoutFfi.status, 3, withoutFfi.stderr);
});

test("without koffi memory is read through /proc/PID/mem", async () => {
  await using target = await GoTarget.start(await build(currentGo, "pie-strip"));
  await assertSame(await ready(target), await dumpOf(target.pid, { env: withoutKoffi() }));
});

/** Makes koffi fail to load, as where it was not installed. */
function withoutKoffi(): Record<string, string> {
  const path = join(folder, "without-koffi.cjs");
  writeFileSync(
    path,
    'const m = require("node:module"); const load = m._load;\n' +
      'm._load = function (name, ...rest) { if (name === "koffi") throw new Error("not installed"); return load.call(this, name, ...rest); };\n',
  );
  makeReachable();
  return { NODE_OPTIONS: `--require ${path}` };
}

function makeReachable(): void {
  // Folders of mkdtemp are for their owner only.
  execFileSync("chmod", ["-R", "a+rX", folder]);
}

async function childOf(pid: number): Promise<number> {
  for (let i = 0; i < 100; i++) {
    const child = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim();
    if (child !== "") return Number(child.split(" ")[0]);
    await delay(20);
  }
  throw new Error(`process ${pid} has no child`);
}

test("no such process", async () => {
  const result = await dumpOf(4194303);
  assert.equal(result.status, 4);
  assert.match(result.stderr, /no process 4194303/);
});

test("a kernel thread", async (t) => {
  const pid = kernelThread();
  if (pid === undefined) return t.skip("no kernel thread can be seen in this pid namespace");
  const result = await dumpOf(pid);
  assert.equal(result.status, 5, result.stderr);
  assert.match(result.stderr, /a kernel thread/);
});

function kernelThread(): number | undefined {
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      const flags = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[6]);
      if (flags & 0x200000) return Number(name);
    } catch {
      // It has exited.
    }
  }
  return undefined;
}

test("a zombie", async () => {
  const parent = spawn("sh", ["-c", "sleep 0.01 & exec sleep 60"], { stdio: "ignore" });
  try {
    const pid = await childOf(parent.pid!);
    while (!/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "latin1"))) await delay(10);
    const result = await dumpOf(pid);
    assert.equal(result.status, 4, result.stderr);
    assert.match(result.stderr, /a zombie/);
    assert.match((await procscope(["doctor", String(pid)])).stdout, /a zombie/);
  } finally {
    await endChild(parent);
  }
});

test("a process that is not Go", async () => {
  const child = spawn("sleep", ["60"]);
  try {
    await delay(50);
    const result = await dumpOf(child.pid!);
    assert.equal(result.status, 5, result.stderr);
    assert.match(result.stderr, /not a Go program/);
  } finally {
    await endChild(child);
  }
});

/** A sentence on standard error, no stack trace of ours, and no hanging. */
function assertClear(result: CliResult): void {
  assert.equal(result.signal, null, "it hung");
  assert.doesNotMatch(result.stderr, /bug in procscope|\n {4}at /, result.stderr);
  if (result.status !== 0) assert.match(result.stderr, /^procscope: \S/);
}

/** A generator of random numbers in [0, 1): mulberry32. */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

test("the target exits while it is read", async () => {
  const next = random(1);
  for (let round = 0; round < 12; round++) {
    await using target = await GoTarget.start(await build(currentGo, "strip"));
    await target.ask("park 20000");
    const dump = dumpOf(target.pid);
    await delay(40 + next() * 200);
    await target.end();
    const result = await dump;
    assertClear(result);
    assert.ok([0, 1, 4].includes(result.status ?? -1), `${result.status}: ${result.stderr}`);
  }
});

test("the target becomes another program while it is read", async () => {
  const next = random(2);
  for (let round = 0; round < 8; round++) {
    const server = await startHttp(await build(currentGo, "strip", "http"));
    try {
      await fetch(`${server.url}/park?n=20000`);
      const dump = dumpOf(server.pid);
      await delay(40 + next() * 200);
      await fetch(`${server.url}/exec`).catch(() => {});
      const result = await dump;
      assertClear(result);
      assert.ok([0, 1, 4, 5].includes(result.status ?? -1), `${result.status}: ${result.stderr}`);
    } finally {
      await server.end();
    }
  }
});

test("procscope is killed at any moment: the target runs on", async () => {
  const next = random(3);
  await using target = await GoTarget.start(await build(currentGo, "strip"));
  await target.ask("park 5000");
  for (let round = 0; round < 30; round++) {
    const child = spawn(process.execPath, [cliPath, "dump", "--pid", String(target.pid)], { stdio: "ignore" });
    await delay(next() * 250);
    await endChild(child);
    assert.equal((await target.ask("count")).toString("utf8"), "5001");
    assert.doesNotMatch(readFileSync(`/proc/${target.pid}/status`, "latin1"), /State:\s*[Tt]/);
  }
});

for (const [args, words] of [
  [["dump", "--nope"], /unknown option/],
  [["dump"], /no process named/],
  [["dump", "--pid", "x"], /not a process id/],
  [["dump", "--pid", "1", "2"], /more than one process|unexpected operand/],
  [["dump", "--pid", "1", "--format", "nope"], /nope|invalid/],
  [["summary", "--pid"], /argument missing/],
  [["nosuch"], /no such command/],
  [["doctor", "--sys-root", "/nonexistent"], /no such folder/],
] as const) {
  test(`wrong words: ${args.join(" ")}`, async () => {
    const result = await procscope(args);
    assert.equal(result.status, 2, result.stderr);
    assert.match(result.stderr, words);
    assertClear(result);
  });
}

test("a full disk under -o", { skip: rootOnly }, async () => {
  await using target = await GoTarget.start(await build(currentGo, "strip"));
  await target.ask("park 2000");
  const disk = join(folder, "disk");
  mkdirSync(disk);
  const script = 'mount -t tmpfs -o size=64k tmpfs "$0" && "$@"; status=$?; ls -A "$0" >&2; exit $status';
  const result = await procscope(["dump", "--pid", String(target.pid), "-o", join(disk, "out")], {
    by: ["unshare", "-m", "sh", "-c", script, disk],
  });
  assert.equal(result.status, 1, result.stderr);
  assert.match(result.stderr, /ENOSPC/);
  assert.doesNotMatch(result.stderr, /^out/m);
});

test("a full device as standard output", async () => {
  await using target = await GoTarget.start(await build(currentGo, "strip"));
  const result = await procscope(["dump", "--pid", String(target.pid)], {
    by: ["sh", "-c", 'exec "$@" > /dev/full', "sh"],
  });
  assert.equal(result.status, 1, result.stderr);
  assert.match(result.stderr, /ENOSPC/);
  assertClear(result);
});

test("a closed pipe ends it quietly", async () => {
  await using target = await GoTarget.start(await build(currentGo, "strip"));
  await target.ask("park 20000");
  const result = await procscope(["dump", "--pid", String(target.pid)], {
    by: ["bash", "-c", 'set -o pipefail; "$@" | head -n 1; echo "status $?"', "bash"],
  });
  assert.match(result.stdout, /^goroutine 1 [^\n]*\nstatus 0\n$/);
  assert.equal(result.stderr, "");
});
