/** `procscope mem` and `procscope profile heap|block|…` as a user runs them, on a stripped target. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { packageRoot } from "../../src/base/package-root.ts";
import { atRest } from "../support/at-rest.ts";
import { type CliResult, procscope } from "../support/cli.ts";
import { build, GoTarget } from "../support/go-target.ts";

let target: GoTarget;
let pid: string;

before(async () => {
  target = await GoTarget.start(await build(undefined, "pie-strip"), { env: { GODEBUG: "memprofilerate=512" } });
  for (const request of ["park 20", "alloc 5000", "gc"]) await target.ask(request);
  pid = String(target.pid);
});
after(() => target.end());

/**
 * `mem` of the target at rest, and the target's own numbers: Alloc, TotalAlloc, Sys, Lookups, Mallocs … as 64-bit words in
 * the order of runtime.MemStats.
 */
async function memAtRest(...args: string[]): Promise<CliResult & { readonly own: Buffer }> {
  const { own, seen } = await atRest(
    () => target.ask("ms"),
    () => procscope(["mem", pid, ...args]),
  );
  return { ...seen, own };
}

test("--json has the names and values of runtime.MemStats, as its schema says", async () => {
  const { own, status, stdout, stderr } = await memAtRest("--json");
  assert.equal(status, 0, stderr);
  const result = JSON.parse(stdout) as { schema: string; pid: number; memStats: Record<string, unknown> };
  const schema = JSON.parse(readFileSync(join(packageRoot, "schemas/mem.json"), "utf8")) as {
    properties: { memStats: { required: string[] } };
  };
  assert.equal(result.schema, "procscope/mem/1");
  assert.equal(result.pid, target.pid);
  assert.deepEqual(Object.keys(result.memStats).sort(), schema.properties.memStats.required.sort());
  assert.equal(result.memStats["Alloc"], String(own.readBigUInt64LE(0)));
  assert.equal(result.memStats["Mallocs"], String(own.readBigUInt64LE(32)));
  assert.equal((result.memStats["PauseNs"] as string[]).length, 256);
  assert.equal((result.memStats["BySize"] as unknown[]).length, 61);
});

test("--format prometheus is what promtool takes, with client_golang's names", async () => {
  const { own, status, stdout } = await memAtRest("--format", "prometheus");
  assert.equal(status, 0);
  const lint = spawnSync("promtool", ["check", "metrics"], { input: stdout, encoding: "utf8" });
  const remarks = (lint.stderr + lint.stdout).split("\n").filter((line) => line !== "");
  assert.deepEqual(remarks, []);
  assert.match(stdout, new RegExp(`^go_memstats_heap_alloc_bytes ${own.readBigUInt64LE(0)}$`, "m"));
  assert.equal(stdout.match(/^go_memstats_\w+ /gm)?.length, 22);
});

test("--interval shows what changed, --count how often", async () => {
  const { status, stdout } = await memAtRest("--interval", "100ms", "--count", "3", "--json");
  assert.equal(status, 0);
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { changes?: Record<string, string> });
  assert.equal(lines.length, 3);
  assert.equal(lines[0]!.changes, undefined);
  assert.equal(lines[1]!.changes?.["TotalAlloc"], "0");
  const text = (await procscope(["mem", pid, "-i", "50ms", "-n", "2"])).stdout;
  assert.match(text, /^FIELD +VALUE +CHANGE +WHAT IT IS$/m);
});

test("--format memdebug prints memdebug's line", async () => {
  const { own, stdout } = await memAtRest("--format", "memdebug");
  const alloc = own.readBigUInt64LE(0);
  const stack = own.readBigUInt64LE(8 * 12);
  assert.match(
    stdout,
    new RegExp(`^ *[0-9.]+(µs|ms|s) \\( *\\+${alloc}\\): *${alloc}: *\\d+: *${stack} <- {3}\\[.* ${pid}\\]\\n$`),
  );
});

test("wrong words are refused", async () => {
  for (const args of [
    ["mem"],
    ["mem", "x"],
    ["mem", pid, "--count", "0"],
    ["mem", pid, "--json", "--format", "prometheus"],
  ]) {
    const { status, stdout } = await procscope(args);
    assert.equal(status, 2, args.join(" "));
    assert.equal(stdout, "");
  }
});

test("profile heap prints its rate and a table; profile block says that there is none", async () => {
  const heap = await procscope(["profile", "heap", pid]);
  assert.equal(heap.status, 0, heap.stderr);
  assert.match(heap.stderr, /heap: one allocation for about 512B sampled \(MemProfileRate 512\), \d+ buckets/);
  assert.match(heap.stdout, /main\.allocate/);
  const block = await procscope(["profile", "block", pid]);
  assert.equal(block.status, 5);
  assert.match(block.stderr, /the program keeps no block profile: it is switched off/);
});
