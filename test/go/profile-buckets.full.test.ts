/**
 * The runtime's own profiles read from outside, against what the target itself writes of them at the same moment: every
 * bucket with its counts and addresses (debug=1), and the profile that go tool pprof would get (debug=0).
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { GoProcess } from "../../src/go/process.ts";
import { type BucketStacks, readContentionBuckets, readMemoryBuckets } from "../../src/go/profile-buckets.ts";
import type { GoRuntime } from "../../src/go/runtime.ts";
import type { Profile } from "../../src/profile/model.ts";
import { decodePprof, inflateProfile } from "../../src/profile/pprof-reader.ts";
import { runtimeProfile } from "../../src/views/runtime-profile.ts";
import { build, GoTarget } from "../support/go-target.ts";
import { currentGo, goVersions } from "../support/go-toolchain.ts";

/** "0x… 0x…", as debug=1 writes a stack. */
function stackText(stacks: BucketStacks, row: number): string {
  const pcs = stacks.addresses.subarray(stacks.first[row]!, stacks.first[row + 1]!);
  return Array.from(pcs, (pc) => ` 0x${pc.toString(16)}`).join("");
}

function counted(lines: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of lines) counts.set(line, (counts.get(line) ?? 0) + 1);
  return counts;
}

/** Lines of `ours` that `own` does not have. */
function missing(ours: readonly string[], own: readonly string[]): string[] {
  const left = counted(own);
  return ours.filter((line) => {
    const count = left.get(line) ?? 0;
    left.set(line, count - 1);
    return count <= 0;
  });
}

/**
 * Starts a target whose heap profile samples one allocation for 512 bytes, and makes it allocate, collect and contend;
 * with "profiles" every profile is switched on at its highest rate.
 */
async function busyTarget(version: string, rates: "profiles" | "count"): Promise<GoTarget> {
  const path = await build(version, "pie-strip");
  const target = await GoTarget.start(path, { env: { GODEBUG: "memprofilerate=512" } });
  for (const request of [rates, "kinds", "park 50", "alloc 5000", "gc", "alloc 777", "gc"]) await target.ask(request);
  await delay(300);
  return target;
}

/** Ticks and events of each bucket. */
function contentionRows(runtime: GoRuntime, kind: "block" | "mutex"): string[] {
  const buckets = readContentionBuckets(runtime, kind);
  assert.ok(buckets.rate === undefined || buckets.rate > 0, `${kind} rate ${buckets.rate}`);
  return Array.from({ length: buckets.count }, (_, row) => `${buckets.ticks[row]} ${buckets.events[row]}`);
}

const figures = { buckets: 0, contentions: 0 };

for (const version of goVersions) {
  test(`go${version}: heap buckets`, async () => {
    await using target = await busyTarget(version, "count");
    using process = GoProcess.attach(target.pid);
    const heap = readMemoryBuckets(process.runtime);
    const ours = Array.from({ length: heap.count }, (_, row) => {
      const objects = heap.allocObjects[row]! - heap.freeObjects[row]!;
      const bytes = heap.allocBytes[row]! - heap.freeBytes[row]!;
      return `${objects}: ${bytes} [${heap.allocObjects[row]}: ${heap.allocBytes[row]}] @${stackText(heap, row)}`;
    });
    const text = (await target.ask("profile heap 1")).toString();
    const own = text.split("\n").filter((line) => /^\d+: \d+ \[\d+: \d+\] @/.test(line));
    assert.ok(heap.count > 10, `only ${heap.count} buckets`);
    // What the request itself allocates is new to it: the other direction does not hold.
    assert.deepEqual(missing(ours, own), []);
    // The header holds twice the rate.
    assert.equal(heap.rate, Number(/^heap profile: .* @ heap\/(\d+)\n/.exec(text)?.[1]) / 2);
    figures.buckets += heap.count;
  });

  test(`go${version}: block and mutex buckets`, async () => {
    await using target = await busyTarget(version, "profiles");
    using process = GoProcess.attach(target.pid);
    for (const kind of ["block", "mutex"] as const) {
      // The target is idle now, but the runtime itself may wait for a lock at any time, and counts that too: compared is
      // what stood still while the target was asked.
      for (let attempt = 1; ; attempt++) {
        const before = contentionRows(process.runtime, kind);
        const text = (await target.ask(`profile ${kind} 1`)).toString();
        const after = new Set(contentionRows(process.runtime, kind));
        const own = text
          .split("\n")
          .filter((line) => /^\d+ \d+ @/.test(line))
          .map((line) => line.replace(/ @.*/, ""));
        const still = before.filter((row) => after.has(row));
        if (still.length < before.length && attempt < 5) continue;
        assert.deepEqual(missing(still, own), [], kind);
        // The waits of the request itself may move one.
        assert.ok(still.length >= before.length - 1, `${kind}: ${before.length - still.length} moved each time`);
        figures.contentions += still.length;
        break;
      }
    }
  });
}

/** Samples as text: values, labels, functions with lines. */
function samplesOf(profile: Profile, withValues: boolean): string[] {
  const { samples, stacks, locations, functions, labelSets } = profile;
  return Array.from({ length: samples.count }, (_, row) => {
    const frames: string[] = [];
    for (let stack = samples.stack[row]!; stack !== 0; stack = stacks.parent[stack]!) {
      const location = stacks.location[stack]!;
      for (let line = locations.firstLine[location]!; line < locations.firstLine[location + 1]!; line++) {
        const name = functions.name[locations.lineFunction[line]!]!;
        // threadcreate stacks of the runtime itself are filled up with zeros, which it writes as frames without a name.
        if (name !== "") frames.push(`${name}:${locations.lineNumber[line]}`);
      }
    }
    const values = withValues ? samples.values.map((column) => column[row]).join(" ") : "";
    return `${values} ${JSON.stringify(labelSets[samples.labels[row]!])} ${frames.join(" < ")}`;
  });
}

for (const kind of ["heap", "block", "mutex", "threadcreate"] as const) {
  test(`go${currentGo}: the ${kind} profile is what runtime/pprof writes`, async () => {
    await using target = await busyTarget(currentGo, kind === "heap" ? "count" : "profiles");
    using process = GoProcess.attach(target.pid);
    // The first request of such a profile has the runtime measure its clock.
    if (kind === "block" || kind === "mutex") await target.ask(`profile ${kind} 0`);
    const read = (): Profile => runtimeProfile(process.runtime, kind, "program").profile;
    let profile = read();
    let own = decodePprof(inflateProfile(await target.ask(`profile ${kind} 0`)));
    // As above: the runtime's own waits may have moved a bucket meanwhile.
    for (
      let attempt = 1;
      attempt < 5 && missing(samplesOf(profile, true), samplesOf(own, true)).length > 0;
      attempt++
    ) {
      profile = read();
      own = decodePprof(inflateProfile(await target.ask(`profile ${kind} 0`)));
    }
    assert.deepEqual(profile.sampleTypes, own.sampleTypes);
    assert.deepEqual(profile.periodType, own.periodType);
    assert.equal(profile.period, own.period);
    assert.ok(profile.samples.count > 0, "samples");
    const others = samplesOf(own, true);
    assert.deepEqual(missing(samplesOf(profile, true), others), [], others.slice(0, 20).join("\n"));
  });
}

test("a program without a profile says so", async () => {
  await using target = await GoTarget.start(await build(currentGo, "strip"));
  using process = GoProcess.attach(target.pid);
  for (const kind of ["block", "mutex"] as const) {
    assert.throws(() => runtimeProfile(process.runtime, kind, ""), {
      code: "UNSUPPORTED_TARGET",
      message: `the program keeps no ${kind} profile: it is switched off`,
    });
  }
});

after(() => console.log(`profiles: ${figures.buckets} heap and ${figures.contentions} contention buckets compared`));
