import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { packageRoot } from "../../src/base/package-root.ts";
import { build, GoTarget } from "../support/go-target.ts";
import { procscope } from "./procscope.ts";

/** The line of the leaking go statement, from the source. */
const leakLine =
  readFileSync(join(packageRoot, "targets/leak/main.go"), "utf8")
    .split("\n")
    .findIndex((line) => line.includes("the leaking go statement")) + 1;

let path: string;
let folder: string;

before(async () => {
  path = await build(undefined, "strip", "leak");
  folder = mkdtempSync(join(tmpdir(), "procscope-diff-"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

test("a leak of one goroutine a second among 10,000 healthy ones is named within 10 seconds", async () => {
  await using target = await GoTarget.start(path, { env: { HEALTHY: "10000", LEAK_EVERY: "1s" } });
  await target.ask("leak 3");
  const began = performance.now();
  const words = ["diff", "--pid", String(target.pid), "--interval", "6s", "--fail-on-growth", "3"];
  const lines = procscope(words, 6).toString().split("\n");
  assert.ok(performance.now() - began < 10_000);
  assert.match(lines[0]!, /^Goroutines: 100\d\d before, 100\d\d after: \+[567] in 6/);
  const grew = lines.filter((line) => /^ *[+-]\d/.test(line));
  assert.equal(grew.length, 1, lines.join("\n"));
  assert.match(grew[0]!, new RegExp(`grew.*chan receive.*main\\.acceptRequest \\(.*main\\.go:${leakLine}\\)`));
  assert.match(grew[0]!, /main\.handleRequest$/);
  assert.match(grew[0]!, /^ +\+[567] +\+[4-8]\d /, "about 60 a minute");
});

test("files: text of the process, our JSON, gzipped; growth, loss, new and gone; exit status 6", async () => {
  await using target = await GoTarget.start(path, { env: { HEALTHY: "30" } });
  const first = join(folder, "first.txt.gz");
  const second = join(folder, "second.ndjson");
  await target.ask("leak 5");
  writeFileSync(first, gzipSync(await target.ask("profile goroutine 2")));
  await target.ask("leak 7");
  await target.ask("names");
  writeFileSync(second, procscope(["dump", "--pid", String(target.pid), "--format", "json"]));

  const forward = JSON.parse(procscope(["diff", first, second, "--json"]).toString());
  assert.equal(forward.schema, "procscope/diff/1");
  assert.equal(forward.after - forward.before, 10);
  const changes = forward.changes.map(
    (one: { kind: string; change: number; place: { function: string; line: number } }) => [
      one.kind,
      one.change,
      one.place.function,
    ],
  );
  assert.deepEqual(changes, [
    ["grew", 7, "main.acceptRequest"],
    ["new", 3, "main.startNamed.func1"],
  ]);
  assert.equal(forward.changes[0].place.line, leakLine);

  const backward = JSON.parse(procscope(["diff", second, first, "--json"]).toString());
  assert.deepEqual(
    backward.changes.map((one: { kind: string; change: number }) => [one.kind, one.change]),
    [
      ["gone", -3],
      ["shrank", -7],
    ],
  );
  procscope(["diff", first, second, "--fail-on-growth", "7"], 6);
  procscope(["diff", first, second, "--fail-on-growth", "8"], 0);
});

test("two profiles are told apart from dumps by their content, and compared by function", async () => {
  await using target = await GoTarget.start(path, { env: { HEALTHY: "30" } });
  const files = [join(folder, "one"), join(folder, "two")] as const;
  await target.ask("leak 2");
  writeFileSync(files[0], procscope(["dump", "--pid", String(target.pid), "--format", "pprof"]));
  await target.ask("leak 6");
  writeFileSync(files[1], procscope(["dump", "--pid", String(target.pid), "--format", "pprof"]));
  const text = procscope(["diff", ...files]).toString();
  assert.match(text, /Total: 33 before, 39 after: \+6/);
  assert.match(text, /\+6 +main\.handleRequest/);
  procscope(["diff", ...files, "--fail-on-growth", "6"], 6);
});

test("three snapshots of a program that is started, by another grouping", () => {
  const words = ["diff", "--interval", "1s", "--count", "3", "--group", "start", "--json", "--", path];
  const result = spawnSync(process.execPath, [procscope.path, ...words], {
    env: { ...process.env, HEALTHY: "10", LEAK_EVERY: "200ms", STAY: "1" },
    encoding: "utf8",
  });
  assert.equal(result.status, 0, result.stderr);
  const { snapshots, group, changes } = JSON.parse(result.stdout);
  assert.deepEqual([snapshots, group, changes.length], [3, "start", 1]);
  assert.equal(changes[0].place.function, "main.handleRequest");
  const [first, second, third] = changes[0].counts;
  assert.ok(first < second && second < third, String(changes[0].counts));
});

test("the library: groups, differences and waits of snapshots", async () => {
  const { attach, compareSnapshots, findSuspects, groupGoroutines, Resources } = await import("../../src/index.ts");
  await using target = await GoTarget.start(path, { env: { HEALTHY: "30" } });
  using go = attach(target.pid);
  const before = go.goroutines().source;
  await target.ask("leak 9");
  // A goroutine that was just started may not have come to its channel yet.
  const isBlocked = (source: typeof before): boolean =>
    groupGoroutines(source, { kind: "state" }, { filter: { function: /handleRequest/ } }).length === 1 &&
    groupGoroutines(source, { kind: "start" }, { filter: { reason: "chan", function: /handleRequest/ } })[0]?.count ===
      9;
  let after = go.goroutines({ stacks: true }).source;
  for (let i = 0; i < 100 && !isBlocked(after); i++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    after = go.goroutines({ stacks: true }).source;
  }
  const { changes } = compareSnapshots([before, after]);
  assert.deepEqual(
    changes.map((one) => [one.kind, one.change, one.place.function, one.place.line]),
    [["new", 9, "main.acceptRequest", leakLine]],
  );
  const sleeping = groupGoroutines(after, { kind: "start" }, { filter: { reason: "sleep" } });
  assert.deepEqual(
    sleeping.map((group) => [group.place.function, group.count]),
    [["main.healthySleeper", 10]],
  );
  const { suspects } = findSuspects(target.pid, after, Resources.read(after));
  const kinds = suspects.map(({ row, kind }) => `${kind}: ${after.start(row).function}`);
  // Garbage that still holds a channel hides it; a healthy goroutine is never told.
  assert.ok(kinds.length >= 5 && kinds.length <= 9, `${kinds.length} suspects`);
  assert.deepEqual(new Set(kinds), new Set(["unreachable channel: main.handleRequest"]));
});

test("what is no dump, one file, or nothing at all", () => {
  const wrong = join(folder, "wrong.txt");
  writeFileSync(wrong, "hello\n");
  const run = (...words: string[]) =>
    spawnSync(process.execPath, [procscope.path, "diff", ...words], { encoding: "utf8" });
  assert.equal(run(wrong, wrong).status, 1);
  assert.match(run(wrong, wrong).stderr, /no goroutine in it/);
  assert.equal(run(wrong).status, 2);
  assert.equal(run().status, 2);
  assert.equal(run(join(folder, "absent"), wrong).status, 1);
  writeFileSync(wrong, Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3]));
  assert.equal(run(wrong, wrong).status, 1);
});
