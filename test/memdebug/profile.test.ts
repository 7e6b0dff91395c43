import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { buildSync } from "esbuild";
import type { Profile } from "../../src/profile/model.ts";
import { decodeProfile } from "../../src/profile/readers.ts";
import { project, run, work } from "./programs.ts";

function read(path: string): Profile {
  return decodeProfile(readFileSync(path), path);
}

/** The share of samples whose stack holds the function, or 0. */
function share(profile: Profile, name: string): number {
  const fn = profile.functions.name.findIndex((one) => one === name || one.startsWith(`${name} `));
  const { stacks, locations, samples } = profile;
  const column = samples.values[profile.defaultType]!;
  let inside = 0;
  let all = 0;
  for (let row = 0; row < samples.count; row++) {
    all += column[row]!;
    for (let at = samples.stack[row]!; at > 0; at = stacks.parent[at]!) {
      if (locations.lineFunction[locations.firstLine[stacks.location[at]!]!] !== fn) continue;
      inside += column[row]!;
      break;
    }
  }
  return all === 0 ? 0 : inside / all;
}

test("each dump covers only the time since the last, the rest is written at exit", () => {
  const folder = project({
    "a.mjs": `import * as memdebug from "procscope/memdebug";${work}
memdebug.profile({ format: "pb.gz" });
firstPart();
console.log(await memdebug.dumpProfile());
secondPart();
const second = memdebug.dumpProfile();
firstPart();
console.log(await second);`,
  });
  const { status, stdout, stderr } = run(folder, ["a.mjs"]);
  assert.deepEqual([status, stderr], [0, ""]);
  assert.deepEqual(stdout.trim().split("\n"), [join(folder, "cpu-001.pb.gz"), join(folder, "cpu-002.pb.gz")]);
  const [first, second, last] = ["cpu-001.pb.gz", "cpu-002.pb.gz", "cpu.pb.gz"].map((name) =>
    read(join(folder, name)),
  ) as [Profile, Profile, Profile];
  assert.ok(share(first, "firstPart") > 0.5 && share(first, "secondPart") === 0, "first");
  assert.ok(share(second, "secondPart") > 0.5 && share(second, "firstPart") === 0, "second");
  assert.ok(share(last, "firstPart") > 0.2 && share(last, "secondPart") === 0, "last");
  assert.ok(second.timeNanos > first.timeNanos && second.durationNanos > 100e6);
  for (const name of readdirSync(folder)) assert.equal(name.includes("raw"), false, name);
  assert.equal(statSync(join(folder, "cpu.pb.gz")).mode & 0o777, 0o600);
});

test("the default is a PDF of one page with the header of the report", () => {
  const folder = project({
    "a.cjs": `const memdebug = require("procscope/memdebug");${work}memdebug.profile(); firstPart();`,
  });
  const { status, stderr } = run(folder, ["a.cjs"], { env: { PATH: "" } });
  assert.deepEqual([status, stderr], [0, ""], "no Go and no Graphviz on the PATH");
  const pdf = readFileSync(join(folder, "cpu.pdf"), "latin1");
  assert.match(pdf, /^%PDF-/);
  assert.match(pdf, /\/Count 1\b/);
});

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  test(`${signal} writes the profile and then ends the program`, () => {
    const folder = project({
      "a.cjs": `const memdebug = require("procscope/memdebug");${work}
memdebug.profile({ format: "folded" }); memdebug.heapProfile({ format: "folded" });
globalThis.kept = []; for (let i = 0; i < 50000; i++) kept.push({ i });
firstPart(); setTimeout(() => process.kill(process.pid, "${signal}"), 20); setInterval(() => {}, 1000);`,
    });
    const ran = run(folder, ["a.cjs"]);
    assert.equal(ran.signal, signal);
    assert.match(readFileSync(join(folder, "cpu.folded"), "utf8"), /firstPart;hot \d+/);
    assert.ok(statSync(join(folder, "heap.folded")).size > 10);
  });
}

test("a program's own signal handler decides about its end", () => {
  const folder = project({
    "a.cjs": `const memdebug = require("procscope/memdebug");${work}
memdebug.profile({ format: "folded" });
process.on("SIGTERM", () => setTimeout(() => { console.log("mine"); process.exit(3); }, 20));
firstPart(); setTimeout(() => process.kill(process.pid, "SIGTERM"), 20); setInterval(() => {}, 1000);`,
  });
  const { status, stdout } = run(folder, ["a.cjs"]);
  assert.deepEqual([status, stdout], [3, "mine\n"]);
  assert.match(readFileSync(join(folder, "cpu.folded"), "utf8"), /firstPart;hot \d+/);
});

test("an uncaught error and process.exit() write the profile, conversions begun are waited for", () => {
  const folder = project({
    "throw.cjs": `require("procscope/memdebug").profile({ format: "folded", name: "thrown" });${work}firstPart(); throw new Error("mine");`,
    "exit.cjs": `const m = require("procscope/memdebug"); m.profile({ format: "folded", name: "exit" });${work}firstPart(); m.dumpProfile(); firstPart(); process.exit(7);`,
  });
  const thrown = run(folder, ["throw.cjs"]);
  assert.equal(thrown.status, 1);
  assert.match(thrown.stderr, /Error: mine/);
  assert.match(readFileSync(join(folder, "thrown.folded"), "utf8"), /hot \d+/);
  assert.equal(run(folder, ["exit.cjs"]).status, 7);
  assert.match(readFileSync(join(folder, "exit.folded"), "utf8"), /hot \d+/);
  assert.match(readFileSync(join(folder, "exit-001.folded"), "utf8"), /hot \d+/);
});

test("a conversion that fails leaves the raw profile and says so, and does not end the program", () => {
  const folder = project({
    "a.mjs": `import * as memdebug from "procscope/memdebug";${work}
import { mkdirSync } from "node:fs";
memdebug.profile({ format: "pdf" });
firstPart();
mkdirSync("cpu-001.pdf");
memdebug.dumpProfile();
await new Promise((resolve) => setTimeout(resolve, 1500));
try { await memdebug.dumpProfile("there.docx"); } catch (error) { console.log(error.code); }
await memdebug.writeProfile("end.folded");
try { await memdebug.writeProfile(); } catch (error) { console.log(error.code); }`,
  });
  const { status, stdout, stderr } = run(folder, ["a.mjs"]);
  assert.deepEqual([status, stdout], [0, "USAGE\nUSAGE\n"]);
  assert.match(stderr, /could not make .*cpu-001\.pdf.*the raw profile is in .*cpu-001\.pdf\.raw\.cpuprofile/);
  assert.ok(share(read(join(folder, "cpu-001.pdf.raw.cpuprofile")), "firstPart") > 0.3);
  assert.ok(existsSync(join(folder, "end.folded")));
});

test("a link that lies in the way is replaced, not followed", () => {
  const folder = project({
    "a.cjs": `require("procscope/memdebug").profile({ format: "folded" });${work}firstPart();`,
    victim: "mine",
  });
  symlinkSync(join(folder, "victim"), join(folder, "cpu.folded"));
  symlinkSync(join(folder, "victim"), join(folder, "cpu.folded.raw.cpuprofile"));
  assert.equal(run(folder, ["a.cjs"]).status, 0);
  assert.equal(readFileSync(join(folder, "victim"), "utf8"), "mine");
  assert.match(readFileSync(join(folder, "cpu.folded"), "utf8"), /hot/);
});

test("frames of Node's own start are collapsed, or kept where asked", () => {
  const folder = project({
    "a.cjs": `require("procscope/memdebug").profile({ format: "folded", collapse: process.argv[2] !== "keep" });${work}firstPart();`,
  });
  run(folder, ["a.cjs"]);
  const collapsed = readFileSync(join(folder, "cpu.folded"), "utf8");
  assert.match(collapsed, /^Module\._compile;\(anonymous\) a\.cjs:1;firstPart;hot \d+$/m);
  run(folder, ["a.cjs", "keep"]);
  assert.match(
    readFileSync(join(folder, "cpu.folded"), "utf8"),
    /Module\.load;.*Module\._compile;\(anonymous\) a\.cjs:1;firstPart;hot \d+$/m,
  );
});

test("profile() turns the collection of print() off until writeProfile()", () => {
  const folder = project({
    "a.mjs": `import * as memdebug from "procscope/memdebug";
const { PerformanceObserver } = await import("node:perf_hooks");
let forced = 0;
new PerformanceObserver((list) => { for (const entry of list.getEntries()) if (entry.detail.flags & 4) forced++; }).observe({ entryTypes: ["gc"] });
const look = async () => { forced = 0; memdebug.print(0, "x"); await new Promise((r) => setTimeout(r, 50)); return forced > 0; };
memdebug.configure({ write() {} });
const seen = [await look()];
memdebug.profile({ format: "folded" });
seen.push(await look());
await memdebug.writeProfile();
seen.push(await look());
console.log(JSON.stringify(seen));`,
  });
  assert.equal(run(folder, ["a.mjs"]).stdout, "[true,false,true]\n");
});

test("a heap profile finds what leaks and says what it cannot see", () => {
  const folder = project({
    "a.mjs": `import * as memdebug from "procscope/memdebug";
globalThis.kept = [];
function leak() { for (let i = 0; i < 200000; i++) kept.push({ i, text: "t" + i }); }
function drop() { let gone; for (let i = 0; i < 200000; i++) gone = { i, text: "t" + i }; return gone; }
memdebug.heapProfile({ format: "pb.gz" });
leak(); drop(); globalThis.buffer = Buffer.alloc(30 << 20);
console.log(await memdebug.dumpHeapProfile());
leak();
console.log(await memdebug.writeHeapProfile("end.txt"));`,
  });
  const { status, stderr } = run(folder, ["a.mjs"]);
  assert.deepEqual([status, stderr], [0, ""]);
  const profile = read(join(folder, "heap-001.pb.gz"));
  assert.deepEqual(profile.sampleTypes, [{ type: "inuse_space", unit: "bytes" }]);
  assert.ok(share(profile, "leak") > 0.8, String(share(profile, "leak")));
  const top = readFileSync(join(folder, "end.txt"), "utf8");
  assert.match(top, /not sampled: \d+\.\dMiB outside of it\n\(3\d\.\dMiB of that in Buffers/);
  assert.match(top, /leak$/m);
});

test("source maps lead to the sources, minified names too", () => {
  const folder = project({
    "src.ts": `export interface Entrant { id: number }
export function computeShares(entrants: Entrant[]): number {
  let sum = 0;
  for (let round = 0; round < 200; round++) {
    for (const entrant of entrants) sum += Math.sqrt(entrant.id * round);
  }
  return sum;
}`,
    "main.ts": `import * as memdebug from "procscope/memdebug";
import { computeShares } from "./src.ts";
memdebug.profile({ format: "pb.gz", name: process.argv[2] });
const entrants = Array.from({ length: 20000 }, (_, id) => ({ id }));
const end = Date.now() + 250;
while (Date.now() < end) globalThis.result = computeShares(entrants);`,
  });
  for (const [name, options] of Object.entries({
    plain: {},
    minified: { minify: true },
    inline: { sourcemap: "inline" as const },
  })) {
    buildSync({
      entryPoints: [join(folder, "main.ts")],
      outfile: join(folder, "out", `${name}.mjs`),
      bundle: true,
      format: "esm",
      platform: "node",
      external: ["procscope"],
      sourcemap: true,
      ...options,
    });
    const { status, stderr } = run(folder, [`out/${name}.mjs`, name]);
    assert.deepEqual([status, stderr], [0, ""]);
    const profile = read(join(folder, `${name}.pb.gz`));
    const fn = profile.functions.name.indexOf("computeShares");
    assert.ok(fn >= 0, `${name}: ${profile.functions.name.join()}`);
    assert.equal(profile.functions.filename[fn], join(folder, "src.ts"), name);
    assert.equal(profile.functions.startLine[fn], 2, name);
    const lines = [...profile.locations.lineNumber].filter((_, at) => profile.locations.lineFunction[at] === fn);
    assert.ok(
      lines.every((line) => line >= 2 && line <= 8),
      `${name}: ${lines}`,
    );
    if (name !== "minified") assert.ok(lines.includes(5), `${name}: ${lines}`);
  }
});

test("a worker's profile has a file of its own", () => {
  const folder = project({
    "a.mjs": `import { Worker, isMainThread } from "node:worker_threads";
import * as memdebug from "procscope/memdebug";${work}
memdebug.profile({ format: "folded" });
if (isMainThread) { new Worker(new URL(import.meta.url)); secondPart(); } else firstPart();`,
  });
  const { status, stderr } = run(folder, ["a.mjs"]);
  assert.deepEqual([status, stderr], [0, ""]);
  assert.match(readFileSync(join(folder, "cpu-worker1.folded"), "utf8"), /firstPart/);
  const main = readFileSync(join(folder, "cpu.folded"), "utf8");
  assert.match(main, /secondPart/);
  assert.doesNotMatch(main, /firstPart/);
});

test("register profiles a program that knows nothing of it, and dumps at a signal", async () => {
  const folder = project({
    "app.mjs": `${work}process.on("message", () => {}); console.log("up"); setInterval(firstPart, 5);`,
  });
  const env = {
    ...process.env,
    NODE_OPTIONS: "",
    PROCSCOPE_CPU: "out-%p.folded",
    PROCSCOPE_HEAP: "heap.folded",
    PROCSCOPE_DUMP_SIGNAL: "SIGUSR2",
  };
  const child = spawn(process.execPath, ["--import", "procscope/memdebug/register", "app.mjs"], {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  try {
    let said = "";
    const dumped = new Promise<void>((resolve, reject) => {
      child.stderr.on("data", (chunk: Buffer) => {
        said += chunk.toString();
        if ((said.match(/wrote /g) ?? []).length === 2) resolve();
      });
      child.on("exit", () => reject(new Error(said)));
    });
    child.stdout.once("data", () => setTimeout(() => child.kill("SIGUSR2"), 400));
    await dumped;
    const ended = new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal)));
    child.kill("SIGTERM");
    assert.equal(await ended, "SIGTERM");
    assert.match(readFileSync(join(folder, `out-${child.pid}-001.folded`), "utf8"), /firstPart/);
    assert.match(readFileSync(join(folder, `out-${child.pid}.folded`), "utf8"), /firstPart/);
    assert.ok(existsSync(join(folder, "heap-001.folded")) && existsSync(join(folder, "heap.folded")));
  } finally {
    child.kill("SIGKILL");
  }
});

test("register says what it could do where nothing was asked, and never breaks the program", () => {
  const folder = project({ "app.cjs": `console.log("ran");` });
  const quiet = run(folder, ["--import", "procscope/memdebug/register", "app.cjs"]);
  assert.deepEqual([quiet.status, quiet.stdout], [0, "ran\n"]);
  assert.match(quiet.stderr, /nothing to do: set PROCSCOPE_CPU=cpu\.pdf/);
  const wrong = run(folder, ["--import", "procscope/memdebug/register", "app.cjs"], {
    env: { PROCSCOPE_CPU: "cpu.docx" },
  });
  assert.deepEqual([wrong.status, wrong.stdout], [0, "ran\n"]);
  assert.match(wrong.stderr, /no profile format/);
  const line = run(folder, ["--import", "procscope/memdebug/register", "app.cjs"], {
    env: { PROCSCOPE_EXIT_LINE: "1" },
  });
  assert.match(line.stdout, /^ran\n.* <- {3}\[exit\]\n$/);
});

test("watch speaks when memory grew, and writes a snapshot only where there is room", () => {
  const folder = project({
    "a.mjs": `import * as memdebug from "procscope/memdebug";
import { writeFileSync } from "node:fs";
memdebug.watch({ interval: 20, when: 5 << 20, snapshot: process.cwd(), snapshots: 1 });
const kept = [];
for (let i = 0; i < 3; i++) { kept.push(Buffer.alloc(8 << 20)); await new Promise((r) => setTimeout(r, 400)); }
memdebug.watch({ interval: 20, when: ({ rss }) => rss > 0, report: (reading, text) => { writeFileSync("said", text); process.exit(0); } });
await new Promise((r) => setTimeout(r, 5000));`,
  });
  const { status, stderr } = run(folder, ["a.mjs"]);
  assert.equal(status, 0);
  const lines = stderr.trim().split("\n");
  assert.match(
    lines[0]!,
    /memory grew by 8\.\dMiB to .*; (heap snapshot in .*\.heapsnapshot|no heap snapshot: .*free.*)$/,
  );
  assert.match(lines[1]!, /memory grew by .*; (no more than 1 snapshots|no heap snapshot)/);
  assert.match(readFileSync(join(folder, "said"), "utf8"), /memory grew/);
  const snapshot = readdirSync(folder).find((name) => name.endsWith(".heapsnapshot"));
  if (lines[0]!.includes("snapshot in")) {
    assert.ok(snapshot);
    assert.equal(statSync(join(folder, snapshot)).mode & 0o777, 0o600);
    assert.ok(JSON.parse(readFileSync(join(folder, snapshot), "utf8")));
    rmSync(join(folder, snapshot));
  }
  writeFileSync(join(folder, "done"), "");
});
