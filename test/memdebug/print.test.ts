import assert from "node:assert/strict";
import { test } from "node:test";
import { project, run } from "./programs.ts";

const line = /^ *(?:[\d.]+(?:ns|µs|ms|s)|\?) \( *([+-]?\d+)\): *\d+: *\d+: *\d+ <- {3}\[(.*)\]$/;

test("ESM: print, its clocks, and the program's values on one line", () => {
  const folder = project({
    "a.mjs": `import * as memdebug from "procscope/memdebug";
const t0 = memdebug.now();
memdebug.print(t0, "first", { id: 1, list: [1, 2] });
globalThis.kept = Buffer.alloc(1 << 20);
memdebug.print(process.hrtime.bigint(), "a\\nb\\x1b[31m");
memdebug.print(new Date(Date.now() - 2500), "date");
memdebug.print(Date.now() - 2500, "epoch");
memdebug.print(undefined, new Proxy({}, { get() { throw new Error("hostile"); }, ownKeys() { throw new Error("hostile"); } }));
memdebug.print(t0, { [Symbol.for("nodejs.util.inspect.custom")]() { throw new Error("hostile"); } });
memdebug.print(t0, "x".repeat(100000));
console.log(typeof globalThis.gc);`,
  });
  const { status, stdout, stderr } = run(folder, ["a.mjs"]);
  assert.deepEqual([status, stderr], [0, ""]);
  const lines = stdout.trimEnd().split("\n");
  assert.equal(lines.pop(), "undefined", "gc stays hidden from the program");
  for (const one of lines) assert.match(one, line);
  assert.match(lines[0]!, /\[first \{ id: 1, list: \[ 1, 2 \] \}\]$/);
  assert.match(lines[1]!, /\[a\\x0ab\\x1b\[31m\]$/);
  assert.ok(Number(line.exec(lines[1]!)![1]) > 1_000_000, "a Buffer counts");
  assert.match(lines[2]!, /^ +2\.5\d*s /);
  assert.match(lines[3]!, /^ +2\.5\d*s /);
  assert.match(lines[4]!, /^ +\? /);
  assert.match(lines[5]!, /\[cannot be shown\]/);
  assert.ok(lines[6]!.length < 3000);
});

test("CommonJS loads it by require", () => {
  const folder = project({
    "a.cjs": `const memdebug = require("procscope/memdebug"); memdebug.print(memdebug.now(), "cjs");`,
  });
  const { status, stdout, stderr } = run(folder, ["a.cjs"]);
  assert.deepEqual([status, stderr], [0, ""]);
  assert.match(stdout.trimEnd(), line);
});

test("a worker measures its own heap", () => {
  const folder = project({
    "a.mjs": `import { Worker, isMainThread } from "node:worker_threads";
import * as memdebug from "procscope/memdebug";
if (isMainThread) new Worker(new URL(import.meta.url));
else {
  for (let i = 0; i < 20; i++) memdebug.print(0, "warm");
  globalThis.kept = new Array(131072).fill(1);
  memdebug.print(0, "worker array");
}`,
  });
  const { status, stdout, stderr } = run(folder, ["a.mjs"]);
  assert.deepEqual([status, stderr], [0, ""]);
  const change = Number(line.exec(stdout.trimEnd().split("\n").at(-1)!)![1]);
  assert.ok(Math.abs(change - 1_048_624) < 20_000, String(change));
});

test("json, a writer of one's own, and a writer that throws", () => {
  const folder = project({
    "a.mjs": `import * as memdebug from "procscope/memdebug";
const lines = [];
memdebug.configure({ json: true, write: (line) => lines.push(line) });
memdebug.print(memdebug.now(), "one");
memdebug.configure({ write: () => { throw new Error("full"); } });
memdebug.print(memdebug.now(), "two");
console.log(lines.join(""));`,
  });
  const { status, stdout, stderr } = run(folder, ["a.mjs"]);
  assert.equal(status, 0);
  assert.match(stderr, /^memdebug: cannot look at memory: Error: full\n$/);
  const value = JSON.parse(stdout) as Record<string, unknown>;
  assert.equal(value["schema"], "procscope/memdebug/1");
  assert.equal(value["text"], "one");
  for (const key of ["elapsed", "change", "heap", "system", "stack"]) assert.equal(typeof value[key], "number", key);
});

test("NO_COLOR, FORCE_COLOR and the setting decide about colour", () => {
  const folder = project({
    "a.mjs": `import * as memdebug from "procscope/memdebug";
if (process.argv[2]) memdebug.configure({ colour: process.argv[2] === "yes" });
memdebug.print(memdebug.now(), "x");`,
  });
  const coloured = (words: string[], env: Record<string, string>): boolean =>
    run(folder, ["a.mjs", ...words], { env }).stdout.includes("\x1b[");
  assert.equal(coloured([], {}), false, "a pipe");
  assert.equal(coloured([], { FORCE_COLOR: "1" }), true);
  assert.equal(coloured([], { FORCE_COLOR: "1", NO_COLOR: "1" }), false);
  assert.equal(coloured(["yes"], { NO_COLOR: "1" }), true);
  assert.equal(coloured(["no"], { FORCE_COLOR: "1" }), false);
});

test("a closed pipe does not hurt the program", () => {
  const folder = project({
    "a.mjs": `import * as memdebug from "procscope/memdebug";
import { writeFileSync } from "node:fs";
memdebug.gcMode(false);
for (let i = 0; i < 2000; i++) memdebug.print(0, "x".repeat(100));
writeFileSync("done", "");`,
  });
  const { status } = run(folder, [
    "-e",
    `
const child = require("node:child_process").spawn(process.execPath, ["a.mjs"], { stdio: ["ignore", "pipe", "inherit"] });
child.stdout.once("data", () => child.stdout.destroy());
child.on("exit", (code) => process.exit(code === 0 && require("node:fs").existsSync("done") ? 0 : 1));`,
  ]);
  assert.equal(status, 0);
});

test("steps have baselines of their own, wrap keeps what a function is", () => {
  const folder = project({
    "a.mjs": `import * as memdebug from "procscope/memdebug";
import assert from "node:assert";
const lines = [];
memdebug.configure({ write: (line) => lines.push(line) });
for (let i = 0; i < 6; i++) memdebug.print(0, "warm");
lines.length = 0;
const outer = memdebug.start("outer");
globalThis.a = Buffer.alloc(1 << 20);
const inner = memdebug.start("inner");
globalThis.b = Buffer.alloc(1 << 19);
const i = inner.print("data", 1);
const o = outer.print();
assert.ok(Math.abs(i.change - (1 << 19)) < 20000, "inner " + i.change);
assert.ok(Math.abs(o.change - (3 << 19)) < 40000, "outer " + o.change);
globalThis.a = null;
const again = outer.print("again");
assert.ok(Math.abs(again.change + (1 << 20)) < 20000, "again " + again.change);
assert.ok(again.elapsed >= o.elapsed);
assert.match(lines[0], /\\[inner data 1\\]/);
lines.length = 0;
{ const s = memdebug.step("block"); s[Symbol.dispose](); }
assert.match(lines[0], /\\[block\\]/);
class Thing { constructor() { this.n = 2; } }
const wrapped = memdebug.wrap(function add(a, b) { return this.n + a + b; });
assert.deepEqual([wrapped.name, wrapped.length, wrapped.call(new Thing(), 1, 4)], ["add", 2, 7]);
assert.match(lines[1], /\\[add\\]/);
assert.throws(memdebug.wrap(() => { throw new TypeError("mine"); }, "thrower"), TypeError);
assert.match(lines[2], /\\[thrower threw\\]/);
const slow = memdebug.wrap(async (n) => { await new Promise((r) => setTimeout(r, 30)); if (n < 0) throw new Error("no"); return n; }, "slow");
assert.equal(await slow(5), 5);
await assert.rejects(slow(-1), /no/);
// A timer's 30 ms are whole milliseconds of the loop's clock: a little less may have passed.
assert.match(lines[3], /^ +(29|[3-9]\\d|\\d{3,})\\.\\d+ms .*\\[slow\\]/);
assert.match(lines[4], /\\[slow rejected\\]/);
console.log("fine");`,
  });
  const { stdout, stderr } = run(folder, ["a.mjs"]);
  assert.equal(stdout + stderr, "fine\n");
});
