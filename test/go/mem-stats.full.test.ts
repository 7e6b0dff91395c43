/**
 * Memory statistics: all of the values of runtime.MemStats, read from outside, against what the target's own ReadMemStats
 * wrote down without allocating.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { MemStats } from "../../src/go/mem-stats.ts";
import { GoProcess } from "../../src/go/process.ts";
import { build, GoTarget, type Mode } from "../support/go-target.ts";
import { currentGo, goVersions } from "../support/go-toolchain.ts";

const testedModes: readonly Mode[] = ["plain", "pie-strip", "cgo"];

/** 29 single values, PauseNs, PauseEnd, and three values of each of 61 size classes. */
const comparedValues = 29 + 256 + 256 + 3 * 61;

const words = [
  ...["Alloc", "TotalAlloc", "Sys", "Lookups", "Mallocs", "Frees", "HeapAlloc", "HeapSys", "HeapIdle", "HeapInuse"],
  ...["HeapReleased", "HeapObjects", "StackInuse", "StackSys", "MSpanInuse", "MSpanSys", "MCacheInuse", "MCacheSys"],
  ...["BuckHashSys", "GCSys", "OtherSys", "NextGC", "LastGC", "PauseTotalNs"],
] as const;

/** Each value by a name of its own, from the struct as it lies in memory (its layout is part of Go's API). */
function ownValues(raw: Buffer): Map<string, bigint | number> {
  const values = new Map<string, bigint | number>();
  for (const [i, name] of words.entries()) values.set(name, raw.readBigUInt64LE(8 * i));
  let at = 8 * words.length;
  for (const name of ["PauseNs", "PauseEnd"])
    for (let i = 0; i < 256; i++, at += 8) values.set(`${name}[${i}]`, raw.readBigUInt64LE(at));
  values.set("NumGC", raw.readUInt32LE(at));
  values.set("NumForcedGC", raw.readUInt32LE(at + 4));
  values.set("GCCPUFraction", raw.readDoubleLE(at + 8));
  values.set("EnableGC", raw.readUInt8(at + 16));
  values.set("DebugGC", raw.readUInt8(at + 17));
  at += 24;
  for (let i = 0; i < 61; i++, at += 24) {
    values.set(`BySize[${i}].Size`, raw.readUInt32LE(at));
    values.set(`BySize[${i}].Mallocs`, raw.readBigUInt64LE(at + 8));
    values.set(`BySize[${i}].Frees`, raw.readBigUInt64LE(at + 16));
  }
  assert.equal(at, raw.length);
  return values;
}

function ourValues(stats: MemStats): Map<string, bigint | number> {
  const values = new Map<string, bigint | number>();
  for (const [name, value] of Object.entries(stats)) {
    if (name === "PauseNs" || name === "PauseEnd")
      for (const [i, item] of (value as bigint[]).entries()) values.set(`${name}[${i}]`, item);
    else if (name === "BySize")
      for (const [i, item] of stats.BySize.entries())
        for (const [key, field] of Object.entries(item)) values.set(`BySize[${i}].${key}`, field);
    else values.set(name, typeof value === "boolean" ? Number(value) : (value as bigint | number));
  }
  return values;
}

function differences(ours: MemStats, own: ReadonlyMap<string, bigint | number>): string[] {
  const mine = ourValues(ours);
  assert.deepEqual([...mine.keys()].sort(), [...own.keys()].sort());
  assert.equal(mine.size, comparedValues);
  return [...own]
    .filter(([name, value]) => mine.get(name) !== value)
    .map(([name, value]) => `${name}: ${mine.get(name)}, own ${value}`);
}

/**
 * What the call itself moves, so a reading before it may differ: flushing the caches takes memory for the allocator's own
 * structures, and the background scavenger may return memory at any time.
 */
const movedByAsking = /^(Sys|GCSys|OtherSys|HeapReleased|HeapIdle|HeapSys|NextGC):/;
/** The scavenger of Go 1.16 and 1.17 works on while the program is idle. */
const movedByScavenger = /^HeapReleased:/;

/**
 * What differs between the target's own numbers and ours, taken before its call (caches not flushed) and after it. The
 * runtime works in the background of a program at rest: near a memory limit the scavenger returns pages and takes eight
 * bytes for its timer. So a difference counts at once where the target's own next numbers show that it did rest, and
 * otherwise where it is there in every one of five attempts.
 */
async function differencesAtRest(target: GoTarget, scavengesAtRest: boolean): Promise<string[]> {
  let found: string[] = [];
  for (let attempt = 0; attempt < 5; attempt++) {
    await target.ask("alloc 3000");
    await delay(200 << attempt);
    // Each reading by an attach of its own: what one process object said it never takes back.
    using process = GoProcess.attach(target.pid);
    const before = process.memStats();
    const own = ownValues(await target.ask("ms"));
    using again = GoProcess.attach(target.pid);
    const after = again.memStats();
    const next = ownValues(await target.ask("ms"));
    const afterCall = differences(after, own).filter((line) => !(scavengesAtRest && movedByScavenger.test(line)));
    const rested = [...own].every(([name, value]) => next.get(name) === value);
    if (rested && afterCall.length > 0) return afterCall.map((line) => `after its own call: ${line}`);
    const beforeCall = differences(before, own).filter((line) => !movedByAsking.test(line));
    found = [...beforeCall.map((line) => `before its own call: ${line}`), ...afterCall];
    if (found.length === 0) return [];
  }
  return found;
}

const settings: readonly { name: string; env: Record<string, string>; from: number }[] = [
  { name: "", env: {}, from: 16 },
  { name: " GOGC=off", env: { GOGC: "off" }, from: 16 },
  { name: " GOMEMLIMIT=20MiB", env: { GOMEMLIMIT: "20MiB" }, from: 19 },
  { name: " GOGC=50 GOMEMLIMIT=64MiB", env: { GOGC: "50", GOMEMLIMIT: "64MiB" }, from: 19 },
];

let compared = 0;
for (const version of goVersions) {
  const minor = Number(version.split(".")[1]);
  for (const mode of testedModes) {
    for (const { name, env, from } of settings) {
      if (minor < from || (name !== "" && mode !== "pie-strip")) continue;
      test(`go${version} ${mode}${name}: ${comparedValues} values`, async () => {
        await using target = await GoTarget.start(await build(version, mode), { env });
        for (const request of ["park 50", "alloc 20000", "gc", "gc"]) await target.ask(request);
        assert.deepEqual(await differencesAtRest(target, minor < 18), []);
        compared += comparedValues;
      });
    }
  }
}

const monotonic = ["TotalAlloc", "Mallocs", "Frees", "PauseTotalNs", "NumGC"] as const;

test("10,000 readings of a program that allocates at full speed: counters never go back", async () => {
  await using target = await GoTarget.start(await build(currentGo, "strip"));
  await target.ask("churn 8");
  using process = GoProcess.attach(target.pid);
  let last = process.memStats();
  const first = last;
  for (let i = 0; i < 10_000; i++) {
    const now = process.memStats();
    for (const name of monotonic) assert.ok(now[name] >= last[name], `${name}: ${now[name]} after ${last[name]}`);
    assert.ok(now.HeapAlloc <= now.HeapSys, `HeapAlloc ${now.HeapAlloc} of HeapSys ${now.HeapSys}`);
    last = now;
  }
  assert.ok(last.TotalAlloc > first.TotalAlloc, "the program did allocate");
});

after(() => console.log(`memory statistics: ${compared} values compared`));
