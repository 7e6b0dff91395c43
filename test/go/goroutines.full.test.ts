/** The formats of dumps and the forms of summary, on a program that blocks in every way there is. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { packageRoot } from "../../src/base/package-root.ts";
import { attach } from "../../src/index.ts";
import { total } from "../../src/profile/model.ts";
import { decodePprof } from "../../src/profile/pprof-reader.ts";
import { atRest } from "../support/at-rest.ts";
import { procscope } from "../support/cli.ts";
import { build, GoTarget } from "../support/go-target.ts";
import { currentGo, goRoot } from "../support/go-toolchain.ts";
import { splitGoroutines } from "../support/goroutine-text.ts";
import { schemaErrors } from "../support/json-schema.ts";

let target: GoTarget;
let folder: string;

before(async () => {
  target = await GoTarget.start(await build(currentGo, "strip"));
  await target.ask("kinds");
  await target.ask("park 50");
  await target.ask("deep 2 300");
  await target.ask("gc");
  folder = mkdtempSync(join(tmpdir(), "procscope-dump-"));
});

after(async () => {
  await target?.end();
  rmSync(folder, { recursive: true, force: true });
});

const run = async (...args: string[]): Promise<string> => {
  const result = await procscope([...args, "--pid", String(target.pid)]);
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
};

/** Stacks of a debug=1 text with their counts, but those of the main goroutine, which asks. */
function groupsOf(text: string): string[] {
  return (
    text
      .split(/\n\n/)
      .map((block) => block.replace(/^goroutine profile: total \d+\n/, "").trim())
      // Its own stops at 128 frames.
      .filter((block) => block !== "" && !/\tmain\.main\+/.test(block) && block.split("\n").length < 100)
  );
}

test("the grouped dump is what the process itself prints for debug=1", async () => {
  const own = groupsOf((await target.ask("profile goroutine 1")).toString("utf8"));
  const ours = groupsOf(await run("dump", "--format", "grouped"));
  assert.ok(own.length > 40, `${own.length} groups`);
  assert.deepEqual(new Set(ours), new Set(own));
  const counts = ours.map((block) => Number(/^\d+/.exec(block)));
  assert.deepEqual(
    counts,
    counts.toSorted((a, b) => b - a),
  );
});

test("the pprof dump is read by go tool pprof and counts as the grouped one", async () => {
  const path = join(folder, "goroutines.pb.gz");
  await run("dump", "--format", "pprof", "-o", path);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const goroutines = splitGoroutines(await run("dump")).length;
  assert.equal(total(decodePprof(readFileSync(path))), goroutines);
  const go = join(goRoot(currentGo), "bin/go");
  const top = execFileSync(go, ["tool", "pprof", "-traces", path], { encoding: "utf8" });
  assert.match(top, /Type: goroutine/);
  assert.match(top, /main\.inlined2 \(inline\)/);
  assert.match(top, /\d+ +runtime\.gopark\n +runtime\.chanrecv\n +runtime\.chanrecv1\n +main\.leaf\n/);
});

test("folded stacks begin with the outermost function and add up", async () => {
  const lines = (await run("dump", "--format", "folded")).trim().split("\n");
  const worker = lines.find((line) => line.startsWith("main.worker;main.leaf;"));
  assert.match(worker ?? "", /;runtime\.gopark \d+$/);
  const sum = lines.reduce((all, line) => all + Number(/ (\d+)$/.exec(line)![1]), 0);
  assert.equal(sum, splitGoroutines(await run("dump")).length);
});

test("the JSON dump has a valid record for each goroutine of the text", async () => {
  const schema = JSON.parse(readFileSync(join(packageRoot, "schemas/dump.json"), "utf8"));
  const records = (await run("dump", "--json"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  for (const record of records) assert.deepEqual(schemaErrors(record, schema), []);
  const goroutines = records.slice(1);
  const texts = splitGoroutines(await run("dump"));
  assert.deepEqual(
    goroutines.map(({ id }) => id),
    texts.map(({ id }) => id),
  );
  const labelled = goroutines.find(({ labels }) => labels?.user !== undefined);
  assert.equal(labelled.labels.request, "42");
  const locked = goroutines.find(({ lockedToThread }) => lockedToThread);
  assert.ok(locked.thread > 0);
  assert.ok(
    goroutines.some(({ frames }) => frames.length > 300),
    "nothing is elided in JSON",
  );
  for (const { startFunction } of goroutines) assert.doesNotMatch(startFunction, /gowrap|deferwrap|-fm$/);
});

test("one goroutine alone, and one that is not there", async () => {
  const [first] = splitGoroutines(await run("dump"));
  assert.equal((await run("dump", "--goroutine", String(first!.id))).trimEnd(), first!.text);
  const missing = await procscope(["dump", "--pid", String(target.pid), "--goroutine", "999999999"]);
  assert.equal(missing.status, 2);
  assert.match(missing.stderr, /has no goroutine 999999999/);
  assert.equal(missing.stdout, "");
});

test("system goroutines are dumped on request", async () => {
  const [without, all] = [splitGoroutines(await run("dump")), splitGoroutines(await run("dump", "--system"))];
  assert.ok(all.length > without.length);
  assert.ok(all.some(({ text }) => text.includes("runtime.bgsweep(")));
  assert.ok(!without.some(({ text }) => text.includes("runtime.bgsweep(")));
});

test("summary has gospy's form, its states add up, and its lines are sorted", async () => {
  const lines = (await run("summary")).trimEnd().split("\n");
  assert.match(lines[0]!, new RegExp(`^bin: /.+, goVer: ${currentGo.replaceAll(".", "\\.")}$`));
  assert.match(lines[1]!, /^Threads: \d+ total, \d+ running, \d+ sleeping, \d+ stopped, \d+ zombie$/);
  const states = /^Goroutines: (\d+) total, (\d+) idle, (\d+) running, (\d+) syscall, (\d+) waiting$/.exec(lines[2]!)!;
  const [count, ...parts] = states.slice(1).map(Number);
  assert.equal(
    parts.reduce((a, b) => a + b, 0),
    count,
  );
  assert.deepEqual(lines.slice(3, 6), ["", "goroutines:", ""]);
  const rows = lines.slice(6).map((line) => /^(\d+) - (.+): (\S+) \((.+):(\d+)\)$/.exec(line));
  assert.ok(rows.every((row) => row !== null));
  assert.equal(rows.length, count);
  const ids = rows.map((row) => Number(row![1]));
  assert.deepEqual(
    ids,
    ids.toSorted((a, b) => a - b),
  );
  assert.match(lines[6]!, /^1 - syscall: rt0_go \(.*\/asm_amd64\.s:\d+\)$/);
  assert.ok(lines.some((line) => /waiting for GC sweep wait: gcenable \(.*\/mgc\.go:\d+\)$/.test(line)));
  assert.ok(!(await run("summary", "--user")).includes("gcenable"));
});

test("summary finds the started function behind a wrapper, and the innermost frame", async () => {
  const { goroutines } = JSON.parse(await run("summary", "--json", "--pc", "start"));
  const names: string[] = goroutines.map((row: { function: string }) => row.function);
  assert.ok(names.filter((name) => name === "main.worker").length >= 50);
  assert.ok(names.includes("main.(*square).Area"));
  assert.deepEqual(
    names.filter((name) => /gowrap|deferwrap|-fm$/.test(name)),
    [],
  );
  const current = JSON.parse(await run("summary", "--json", "--pc", "current", "--state", "waiting"));
  assert.ok(current.goroutines.every((row: { function: string }) => row.function.startsWith("runtime.")));
});

test("summary filters and groups", async () => {
  const schema = JSON.parse(readFileSync(join(packageRoot, "schemas/summary.json"), "utf8"));
  const json = async (...args: string[]) => {
    const value = JSON.parse(await run("summary", "--json", ...args));
    assert.deepEqual(schemaErrors(value, schema), []);
    return value;
  };
  const sends = (await json("--reason", "chan send")).goroutines;
  assert.ok(sends.length > 0 && sends.every((row: { waitReason: string }) => /^chan send/.test(row.waitReason)));
  const labelled = (await json("--label", "request=42")).goroutines;
  assert.ok(labelled.length > 0 && labelled.every((row: { labels: Record<string, string> }) => row.labels["user"]));
  assert.equal((await json("--label", "request=43")).goroutines.length, 0);
  assert.ok((await json("--function", "^main\\.recurse$")).goroutines.length >= 2);
  assert.equal((await json("--longer-than", "1h")).goroutines.length, 0);
  const { groups, states } = await json("--group", "reason");
  const sum = groups.reduce((all: number, group: { count: number }) => all + group.count, 0);
  assert.equal(sum, states.total);
  assert.ok((await json("--group", "function", "--pc", "start")).groups.some((g: { count: number }) => g.count >= 50));
  await json("--verbose");
  const head = (await run("summary", "--verbose")).split("\n");
  assert.match(head[0]!, /, gomaxprocs: \d+, uptime: \S+$/);
  assert.match(head[1]!, /^Sched: NMidle \d+, NMspinning \d+, NMfreed \d+, NPidle \d+, NGsys \d+, Runqsize \d+$/);
  assert.match(head[2]!, /^P0 \w+, schedtick: \d+, syscalltick: \d+, curM: (M\d+|nil), runqsize: \d+$/);
});

test("summary reads saved dumps of either kind", async () => {
  const { goroutines } = JSON.parse(await run("summary", "--json", "--user"));
  for (const args of [[], ["--json"]]) {
    const path = join(folder, "saved");
    await run("dump", "-o", path, ...args);
    const saved = await procscope(["summary", "--from", path, "--json"]);
    assert.equal(saved.status, 0, saved.stderr);
    const again = JSON.parse(saved.stdout);
    const brief = (rows: { id: number; waitReason: string }[]) => rows.map(({ id, waitReason }) => [id, waitReason]);
    assert.deepEqual(brief(again.goroutines), brief(goroutines));
  }
});

test("the library gives the same goroutines", async () => {
  using go = attach(target.pid);
  const goroutines = go.goroutines({ stacks: true });
  // A minute of waiting may become two between the dumps.
  const { own: texts, seen: text } = await atRest(
    async () => splitGoroutines(await run("dump")),
    async () => {
      let text = "";
      for await (const chunk of go.dump()) text += Buffer.from(chunk).toString("utf8");
      return text;
    },
  );
  const ids = [...goroutines].filter((one) => !one.system).map((one) => one.id);
  assert.deepEqual(
    ids,
    texts.map(({ id }) => id),
  );
  assert.ok([...goroutines].every((one) => one.consistent && (one.frames.length > 0 || one.status === "running")));
  assert.deepEqual(
    [...go.goroutines()].every((one) => one.frames.length === 0),
    true,
  );
  assert.deepEqual(splitGoroutines(text), texts);
});
