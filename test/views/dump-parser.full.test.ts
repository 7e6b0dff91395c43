import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { parseDump } from "../../src/views/dump-parser.ts";
import { type GoroutineSource, placeText } from "../../src/views/goroutine-source.ts";
import { groupGoroutines, totalGoroutines } from "../../src/views/groups.ts";
import { build, GoTarget } from "../support/go-target.ts";
import { procscope } from "./procscope.ts";

let path: string;
let target: GoTarget;

before(async () => {
  path = await build(undefined, "plain", "leak");
  target = await GoTarget.start(path, { env: { HEALTHY: "30" } });
  await target.ask("leak 7");
  await target.ask("names");
  // Until the new ones have come to where they wait.
  while (/^goroutine \d+ \[runnable/m.test((await target.ask("profile goroutine 2")).toString())) await delay(10);
});
after(() => target.end());

/** Counts by creator of what the program itself started: the same by whatever way they were told. */
function byCreator(source: GoroutineSource): Record<string, number> {
  const groups = groupGoroutines(source, { kind: "creator" }, { filter: { system: false } });
  return Object.fromEntries(
    groups
      .filter((group) => group.place.function.startsWith("main.") && group.name === "")
      .map((group) => [placeText(group.place), group.count]),
  );
}

function rowWith(source: GoroutineSource, start: string): number {
  for (let row = 0; row < source.count; row++) if (source.start(row).function === start) return row;
  return assert.fail(`no goroutine started in ${start}`);
}

test("the process's own debug=2 text", async () => {
  const source = parseDump(await target.ask("profile goroutine 2"));
  const counts = byCreator(source);
  const leaking = Object.keys(counts).find((key) => key.startsWith("main.acceptRequest"))!;
  assert.equal(counts[leaking], 7);
  assert.match(leaking, /leak\/main\.go:\d+\)|main\.go:\d+\)/);
  const row = rowWith(source, "main.handleRequest");
  assert.equal(source.reason(row), "chan receive");
  assert.equal(source.state(row), "waiting");
  assert.equal(source.creatorId(row), 1);
  assert.equal(source.current(row).function, "main.handleRequest");
  assert.equal(totalGoroutines(source), 1 + 30 + 7 + 3);
});

test("our dumps in text and JSON, gzipped too, say the same as the process", async () => {
  const own = byCreator(parseDump(await target.stacks().then((text) => Buffer.from(text))));
  for (const format of ["runtime", "json"]) {
    const bytes = procscope(["dump", "--pid", String(target.pid), "--format", format]);
    assert.deepEqual(byCreator(parseDump(bytes)), own, format);
    assert.deepEqual(byCreator(parseDump(gzipSync(bytes))), own, `${format}.gz`);
  }
});

test("a JSON dump keeps when it was taken, labels and states", () => {
  const before = Date.now();
  const source = parseDump(procscope(["dump", "--pid", String(target.pid), "--format", "json"]));
  assert.ok(source.takenAt! >= before - 1000 && source.takenAt! <= Date.now());
  const labels = new Set<string>();
  for (let row = 0; row < source.count; row++)
    for (const value of source.labels(row)?.values() ?? []) labels.add(value);
  assert.deepEqual([...labels].sort(), ["emoji 🚀🔥", "esc \x1b[31mred\x07", "漢字テスト"].sort());
});

test("grouped text of debug=1 keeps counts and functions", async () => {
  const texts = [
    await target.ask("profile goroutine 1"),
    procscope(["dump", "--pid", String(target.pid), "--format", "grouped"]),
  ];
  for (const text of texts) {
    const source = parseDump(text);
    const row = rowWith(source, "main.handleRequest");
    assert.equal(source.weight(row), 7);
    assert.equal(source.state(row), "unknown");
    const starts = groupGoroutines(source, { kind: "start" });
    assert.equal(starts.find((group) => group.place.function === "main.healthySelector")!.count, 10);
  }
});

for (const level of ["all", "system", "crash"]) {
  test(`a SIGQUIT traceback with GOTRACEBACK=${level} in the middle of a log`, async () => {
    const child = spawn(path, {
      env: { ...process.env, HEALTHY: "9", GOTRACEBACK: level },
      stdio: ["pipe", "pipe", "pipe"],
    });
    try {
      await once(child.stdout!, "data");
      let text = "";
      child.stderr!.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      child.kill("SIGQUIT");
      await once(child, "close");
      const log = `2026-01-01 started\nreloading goroutine pool [ok]:\n${text}2026-01-01 restarted\n`;
      const source = parseDump(Buffer.from(log));
      const plain = byCreator(source);
      assert.deepEqual(Object.values(plain), [3, 3, 3], text.slice(0, 500));
      // GOTRACEBACK=crash prints the whole again for each thread: every goroutine counts once.
      const ids = new Set(Array.from({ length: source.count }, (_, row) => source.id(row)));
      assert.equal(ids.size, source.count);
      for (const prefix of ["Nov 21 06:25:54 host app[71]: ", "2026-01-01T00:00:00.123456789Z stderr F "]) {
        const prefixed = log.replace(/^/gm, prefix);
        assert.deepEqual(byCreator(parseDump(Buffer.from(prefixed))), plain, prefix);
      }
    } finally {
      child.kill("SIGKILL");
    }
  });
}

test("summary --from reads what dump wrote", () => {
  const bytes = procscope(["dump", "--pid", String(target.pid)]);
  const text = execFileSync(process.execPath, [procscope.path, "summary", "--from", "-"], {
    input: bytes,
    encoding: "utf8",
  });
  assert.match(text, /Goroutines: 41 total/);
  assert.equal(text.match(/acceptRequest|handleRequest/g)?.length, 7);
});
