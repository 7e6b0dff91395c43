/** procscope mount over real Go processes, read as a person would. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { memoryFiles } from "../../src/goinfo/memory-lines.ts";
import { eventually, mountedUnder, Served, shell, skipReason, temporaryFolder } from "../fuse/fixture.ts";
import { atRest } from "../support/at-rest.ts";
import { cliPath } from "../support/cli.ts";
import { build, GoTarget } from "../support/go-target.ts";

interface Context {
  after(done: () => unknown): void;
}

/** Runs `procscope mount` until the test's end; resolves when it says that the tree can be read. */
async function mount(t: Context, words: readonly string[], wrap: readonly string[] = []): Promise<Served> {
  const served = launch(t, words, wrap);
  await served.says(/"mountPoint"/);
  return served;
}

function launch(t: Context, words: readonly string[], wrap: readonly string[] = []): Served {
  const folder = temporaryFolder(t);
  spawnSync("chmod", ["777", folder]);
  const directory = join(folder, "mount");
  const [command, ...rest] = [...wrap, process.execPath, cliPath, "mount", directory, "--json", ...words];
  const child = spawn(command!, rest, { stdio: ["ignore", "pipe", "pipe"] });
  t.after(async () => {
    child.kill("SIGTERM");
    await eventually(() => child.exitCode !== null || child.signalCode !== null, "the end of procscope mount");
  });
  return new Served(directory, child);
}

async function startTarget(t: Context, command: readonly string[] = []): Promise<GoTarget> {
  const target = await GoTarget.start(await build(), { command });
  t.after(() => target.end());
  return target;
}

/** The lines of mem/* as the target itself would write them: runtime.MemStats as it lies in its memory. */
async function ownLines(target: GoTarget): Promise<Record<string, string>> {
  const raw = await target.ask("ms");
  const words = [
    ...["Alloc", "TotalAlloc", "Sys", "Lookups", "Mallocs", "Frees", "HeapAlloc", "HeapSys", "HeapIdle", "HeapInuse"],
    ...["HeapReleased", "HeapObjects", "StackInuse", "StackSys", "MSpanInuse", "MSpanSys", "MCacheInuse"],
    ...["MCacheSys", "BuckHashSys", "GCSys", "OtherSys", "NextGC", "LastGC", "PauseTotalNs"],
  ];
  const values: Record<string, string> = {};
  for (const [i, name] of words.entries()) values[name] = String(raw.readBigUInt64LE(8 * i));
  // Two rings of 256 pauses follow, then two counters, a fraction and two booleans.
  const behind = 8 * words.length + 2 * 256 * 8;
  values["NumGC"] = String(raw.readUInt32LE(behind));
  values["EnableGC"] = String(raw[behind + 16] === 1);
  values["DebugGC"] = String(raw[behind + 17] === 1);
  return Object.fromEntries(
    memoryFiles.map(({ name, fields }) => [name, `${fields.map((field) => values[field]).join(" ")}\n`]),
  );
}

const read = (served: Served, path: string): string => readFileSync(served.path(path), "utf8");

/** Goroutines by their id, but for the one that was asked to print itself. */
function blocks(text: string): Map<string, string> {
  const all = text.trimEnd().split("\n\n");
  return new Map(
    all.map((block) => [/^goroutine (\d+)/.exec(block)![1]!, block] as const).filter(([id]) => id !== "1"),
  );
}

describe("procscope mount --pid", { skip: skipReason }, () => {
  let target: GoTarget;
  let served: Served;
  const ends: (() => unknown)[] = [];
  before(async () => {
    const t = { after: (done: () => unknown) => void ends.push(done) };
    target = await startTarget(t);
    await target.ask("kinds");
    await target.ask("gc");
    served = await mount(t, ["--pid", String(target.pid)]);
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  test("goinfo's example: genmem is six numbers and a newline, the target's own", async () => {
    const { own: before, seen } = await atRest(
      () => ownLines(target),
      async () => Object.fromEntries(memoryFiles.map(({ name }) => [name, read(served, `mem/${name}`)])),
    );
    assert.match(seen["genmem"]!, /^\d+ \d+ \d+ \d+ \d+ \d+\n$/);
    assert.match(seen["gc"]!, /^\d+ \d+ \d+ \d+ true false\n$/);
    assert.deepEqual(seen, before);
    assert.equal(shell(served, "cat $D/mem/genmem").out, before["genmem"]);
  });

  test("is live: what the target allocates shows at the next read", async () => {
    const allocated = (): number => Number(read(served, "mem/genmem").split(" ")[1]);
    const before = allocated();
    await target.ask("alloc 20000");
    assert.ok(allocated() > before);
  });

  test("st/stacktrace is what the target's own runtime.Stack prints", async () => {
    const ours = blocks(read(served, "st/stacktrace"));
    const own = blocks(await target.stacks());
    assert.ok(own.size > 10, `${own.size} goroutines`);
    assert.deepEqual([...ours.keys()], [...own.keys()]);
    for (const [id, block] of own) assert.equal(ours.get(id), block);
  });

  test("the files beside it: all.json, goroutines.json, summary, wait-reasons, info", () => {
    const stats = JSON.parse(read(served, "mem/all.json")) as Record<string, unknown>;
    assert.equal(typeof stats["Alloc"], "string");
    assert.equal((stats["PauseNs"] as unknown[]).length, 256);
    const [header, ...goroutines] = read(served, "st/goroutines.json")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.equal(header.pid, target.pid);
    assert.equal(header.schema, "procscope/dump/1");
    assert.ok(goroutines.some(({ waitReason, frames }) => waitReason === "chan receive" && frames.length > 0));
    const counted = (text: string): number[] =>
      text
        .trimEnd()
        .split("\n")
        .slice(1)
        .map((line) => Number(line.trim().split(" ")[0]));
    for (const file of ["st/summary", "st/wait-reasons"]) {
      const counts = counted(read(served, file));
      const sum = counts.pop()!;
      assert.equal(
        sum,
        counts.reduce((a, b) => a + b, 0),
        file,
      );
      assert.ok(sum >= goroutines.length - 5, file);
    }
    assert.match(read(served, "st/summary"), /main\./);
    assert.match(read(served, "st/wait-reasons"), /chan receive/);
    assert.match(read(served, "info"), new RegExp(`^pid ${target.pid}\ngo go1\\.`));
  });

  test("the usual programs read it, and nothing can be written", () => {
    assert.match(shell(served, "grep -r . $D/mem/heap").out, /^(\d+ ){5}\d+\n$/);
    assert.equal(shell(served, "find $D -type f | wc -l").out.trim(), "13");
    assert.match(shell(served, "head -n 1 $D/st/stacktrace").out, /^goroutine \d+ \[/);
    assert.equal(shell(served, "du -s $D").status, 0);
    assert.match(shell(served, "echo x > $D/mem/heap").err, /Read-only file system/);
  });

  test("belongs to the target's user, 0400 in 0500", () => {
    const { uid, gid } = statSync(`/proc/${target.pid}`);
    for (const path of ["", "mem", "mem/heap"]) {
      const node = statSync(served.path(path));
      assert.deepEqual([node.uid, node.gid, node.mode & 0o777], [uid, gid, path === "mem/heap" ? 0o400 : 0o500]);
    }
  });
});

describe("procscope mount and its users", { skip: skipReason }, () => {
  const asUser = (uid: number): string[] => ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--"];

  test("the target's user reads, a third one is refused, --mode opens", async (t) => {
    const target = await startTarget(t, asUser(1234));
    const closed = await mount(t, ["--pid", String(target.pid)]);
    const open = await mount(t, ["--pid", String(target.pid), "--mode", "0444"]);
    const as = (served: Served, uid: number, line: string) => shell(served, `${asUser(uid).join(" ")} ${line}`);
    assert.match(as(closed, 1234, "cat $D/mem/genmem").out, /^(\d+ ){5}\d+\n$/);
    for (const line of ["cat $D/mem/genmem", "ls $D", "stat $D/mem"]) {
      assert.match(as(closed, 65534, line).err, /Permission denied/);
      assert.equal(as(open, 65534, line).status, 0);
    }
  });

  const noHelper = spawnSync("fusermount3", ["-V"]).error && "fusermount3 is not installed";
  test("any user mounts over a process of his own", { skip: noHelper ?? false }, async (t) => {
    const target = await startTarget(t, asUser(65534));
    const device = join(temporaryFolder(t), "device");
    const prepare = `mknod ${device} c 10 229 && chmod 666 ${device} && mount --bind ${device} /dev/fuse && exec ${asUser(65534).join(" ")} "$@"`;
    const served = await mount(t, ["--pid", String(target.pid)], ["unshare", "--mount", "sh", "-c", prepare, "sh"]);
    const words = ["-t", String(served.child.pid), "-m", "-S", "65534", "-G", "65534"];
    const inside = spawnSync("nsenter", [...words, "cat", served.path("mem/genmem")], { encoding: "utf8" });
    assert.match(inside.stdout, /^(\d+ ){5}\d+\n$/, inside.stderr + served.output);
  });
});

describe("procscope mount and processes that end", { skip: skipReason }, () => {
  test("names vanish with the process, an open file gives ESRCH, the mount stays", async (t) => {
    const target = await startTarget(t);
    const served = await mount(t, ["--pid", String(target.pid)]);
    const files = ["mem/heap", "st/stacktrace"].map((path) => openSync(served.path(path), "r"));
    try {
      for (const fd of files) assert.ok(readSync(fd, Buffer.alloc(100), 0, 100, 0) > 10);
      await target.end();
      for (const fd of files) assert.throws(() => readSync(fd, Buffer.alloc(100), 0, 100, 0), { code: "ESRCH" });
      for (const path of ["mem/heap", "st/stacktrace", "info", "mem"]) {
        assert.throws(() => openSync(served.path(path), "r"), { code: "ENOENT" }, path);
      }
      assert.deepEqual(readdirSync(served.directory), []);
    } finally {
      for (const fd of files) closeSync(fd);
    }
    served.child.kill("SIGINT");
    assert.equal(await served.exited(), 0);
    assert.deepEqual(mountedUnder(served.directory), []);
  });

  test("--all shows each Go process while it runs", async (t) => {
    const served = await mount(t, ["--all"]);
    const first = await startTarget(t);
    const folder = (pid: number): string | undefined =>
      readdirSync(served.directory).find((name) => name.startsWith(`${pid}-`));
    const name = folder(first.pid)!;
    assert.match(name, /^\d+-goroutines-go/);
    assert.match(read(served, `${name}/mem/genmem`), /^(\d+ ){5}\d+\n$/);
    assert.equal(folder(process.pid), undefined, "Node is not Go");
    const second = await startTarget(t);
    assert.ok(folder(second.pid));
    await first.end();
    assert.equal(folder(first.pid), undefined);
    assert.throws(() => statSync(served.path(`${name}/mem/heap`)), { code: "ENOENT" });
    assert.match(read(served, `${folder(second.pid)}/st/summary`), /main\.main|runtime\.main/);
  });

  test("with -- COMMAND the mount ends with the command", async (t) => {
    const served = launch(t, ["--", "sh", "-c", `sleep 2 | ${await build()}`]);
    // sh is no Go program: said before anything is mounted.
    assert.equal(await served.exited(), 5);
    assert.match(served.output, /not a Go program/);
    assert.deepEqual(mountedUnder(served.directory), []);
  });
});

describe("procscope mount's options", { skip: skipReason }, () => {
  test("--ttl keeps what was read", async (t) => {
    const target = await startTarget(t);
    const served = await mount(t, ["--pid", String(target.pid), "--ttl", "2s"]);
    const first = read(served, "mem/genmem");
    await target.ask("alloc 200");
    assert.equal(read(served, "mem/genmem"), first);
    await eventually(() => read(served, "mem/genmem") !== first, "fresh figures");
  });

  test("--supervise: the figures go on when the server is killed", async (t) => {
    const target = await startTarget(t);
    const served = await mount(t, ["--pid", String(target.pid), "--supervise"]);
    const fd = openSync(served.path("mem/genmem"), "r");
    try {
      const children = readFileSync(`/proc/${served.child.pid}/task/${served.child.pid}/children`, "utf8").trim();
      const server = children
        .split(" ")
        .map(Number)
        .find((pid) => readFileSync(`/proc/${pid}/cmdline`).includes("fuse-child"));
      process.kill(server!, "SIGKILL");
      const buffer = Buffer.alloc(200);
      assert.match(buffer.toString("utf8", 0, readSync(fd, buffer, 0, 200, 0)), /^(\d+ ){5}\d+\n$/);
      assert.match(read(served, "st/stacktrace"), /^goroutine \d+ \[/);
    } finally {
      closeSync(fd);
    }
  });

  test("wrong words are usage errors, a missing process is said so", async (t) => {
    for (const [words, status, reason] of [
      [[], 2, /no process named/],
      [["--all", "--pid", "1"], 2, /--all is about every process/],
      [["--pid", "1", "--mode", "9"], 2, /not a file mode/],
      [["--pid", "4194303"], 4, /no such process|no process/],
    ] as const) {
      const served = launch(t, words);
      assert.equal(await served.exited(), status, words.join(" "));
      assert.match(served.output, reason);
    }
  });
});
