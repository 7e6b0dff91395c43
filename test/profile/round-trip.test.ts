import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { Profile as PprofFormat } from "pprof-format";
import { ProfileBuilder } from "../../src/profile/builder.ts";
import { encoderFor } from "../../src/profile/encoders.ts";
import type { Profile } from "../../src/profile/model.ts";
import { encodePprof } from "../../src/profile/pprof.ts";
import { decodeProfile } from "../../src/profile/readers.ts";
import { summed } from "../../src/profile/summed.ts";
import { seed } from "../support/seed.ts";
import { contents, encoded, goProfile, load, missing, nodeProfile, scratch } from "./fixtures.ts";

const noGo = missing("go");

async function through(profile: Profile, path: string): Promise<Profile> {
  return decodeProfile(await encoded(encoderFor(path).encode(profile)), path);
}

for (const kind of ["cpu", "heap", "goroutine"] as const) {
  test(`a ${kind} profile of Go survives reading and writing as pprof`, { skip: noGo }, async () => {
    const profile = load(goProfile(kind));
    const again = await through(profile, "x.pb.gz");
    assert.ok(profile.samples.count > 0);
    assert.deepEqual(contents(again), contents(profile));
    for (const key of ["sampleTypes", "defaultType", "periodType", "period", "timeNanos", "durationNanos"] as const) {
      assert.deepEqual(again[key], profile[key], key);
    }
    assert.deepEqual(
      [again.mappings, again.comments, again.dropFrames],
      [profile.mappings, profile.comments, profile.dropFrames],
    );
  });

  test(`go tool pprof says the same of a ${kind} profile before and after`, { skip: noGo }, () => {
    const path = join(scratch, `again-${kind}.pb.gz`);
    writeFileSync(path, encodePprof(load(goProfile(kind))));
    const raw = (file: string): string[] =>
      execFileSync("go", ["tool", "pprof", "-traces", file], { encoding: "utf8", stdio: "pipe" }).split("\n").sort();
    assert.deepEqual(raw(path), raw(goProfile(kind)));
  });
}

test("another reader of profile.proto finds what we wrote", () => {
  const profile = load(nodeProfile());
  const other = PprofFormat.decode(gunzipSync(encodePprof(profile)));
  const flat = summed(profile);
  assert.equal(other.sample.length, flat.samples.count);
  assert.equal(other.function.length, profile.functions.count);
  const sum = other.sample.reduce((total, sample) => total + Number(sample.value[1]), 0);
  assert.equal(sum, Math.round(flat.samples.values[1]!.reduce((total, value) => total + value, 0)));
});

test("a profile of Node survives .cpuprofile with its times, lines and order", async () => {
  const profile = load(nodeProfile());
  const again = await through(profile, "x.cpuprofile");
  assert.ok(profile.samples.count > 100, `${profile.samples.count} samples`);
  assert.equal(again.samples.count, profile.samples.count);
  assert.deepEqual([...again.samples.time!], [...profile.samples.time!]);
  assert.deepEqual(contents(again), contents(profile));
  type Raw = { timeDeltas: number[]; samples: number[]; nodes: { id: number; hitCount: number }[] };
  const raw = JSON.parse(readFileSync(nodeProfile(), "utf8")) as Raw;
  const written = JSON.parse((await encoded(encoderFor("x.cpuprofile").encode(profile))).toString()) as Raw;
  assert.deepEqual(written.timeDeltas, raw.timeDeltas);
  const counted = new Map<number, number>();
  for (const id of written.samples) counted.set(id, (counted.get(id) ?? 0) + 1);
  for (const node of written.nodes) assert.equal(node.hitCount, counted.get(node.id) ?? 0);
});

test("a profile of Node survives pprof, but for times", async () => {
  const profile = load(nodeProfile());
  assert.deepEqual(contents(await through(profile, "x.pb.gz")), contents(profile));
});

test("every profile survives folded text by names and value", { skip: noGo }, async () => {
  for (const path of [nodeProfile(), goProfile("cpu")]) {
    const profile = load(path);
    const first = await through(profile, "x.folded");
    const second = await through(first, "x.folded");
    assert.deepEqual(contents(second), contents(first));
    const total = (one: Profile, type: number): number =>
      Math.round(one.samples.values[type]!.reduce((a, b) => a + b, 0));
    assert.equal(total(first, 0), total(profile, profile.defaultType));
  }
});

test("pprof to .cpuprofile keeps stacks, lines and time", { skip: noGo }, async () => {
  const profile = load(goProfile("cpu"));
  const again = await through(profile, "x.cpuprofile");
  const time = (one: Profile, lines: boolean): [string, number][] =>
    [...byNames(one, lines)].map(([stack, values]) => [stack, values[one.defaultType]!]);
  assert.deepEqual(time(again, false), time(profile, false));
});

/** By names root first, inlined functions as frames of their own: what a format without inlining can hold. */
function byNames(profile: Profile, lines: boolean): Map<string, number[]> {
  const sums = new Map<string, number[]>();
  for (const [key, values] of contents(profile, { lines, addresses: false, files: false })) {
    const frames = key.replace(/^[^|]*\|/, "").split(";");
    const name = frames.map((frame) => frame.split(" < ").reverse().join(";")).join(";");
    const sum = sums.get(name) ?? values.map(() => 0);
    values.forEach((value, i) => {
      sum[i]! += value;
    });
    sums.set(name, sum);
  }
  return new Map([...sums].sort());
}

test("any profile survives pprof: stacks, inlining, labels, addresses, negative and large values", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 12 });
  const arbitrary = fc.record({
    frames: fc.array(
      fc.record({
        lines: fc.array(
          fc.record({
            name: text,
            file: text,
            start: fc.nat(1e6),
            line: fc.integer({ min: -5, max: 2 ** 31 - 1 }),
            column: fc.nat(500),
          }),
          { maxLength: 3 },
        ),
        address: fc.bigInt(0n, 2n ** 64n - 1n),
      }),
      { minLength: 1, maxLength: 8 },
    ),
    samples: fc.array(
      fc.record({
        stack: fc.array(fc.nat(7), { maxLength: 12 }),
        values: fc.tuple(fc.maxSafeInteger(), fc.integer()),
        label: fc.option(
          fc.oneof(
            fc.record({ key: text, text: fc.string({ minLength: 1, maxLength: 12 }) }),
            fc.record({ key: text, number: fc.maxSafeInteger(), unit: text }),
          ),
        ),
      }),
      { maxLength: 20 },
    ),
  });
  fc.assert(
    fc.property(arbitrary, ({ frames, samples }) => {
      const sampleTypes = [
        { type: "a", unit: "count" },
        { type: "b", unit: "bytes" },
      ];
      const builder = new ProfileBuilder({ sampleTypes, timed: false });
      const ids = frames.map(({ lines, address }) =>
        builder.inlinedLocation(
          // A name that is empty is read back as the linker's name, which is empty too.
          lines.flatMap(({ name, file, start, line, column }) => [builder.function(name, file, start), line, column]),
          { address },
        ),
      );
      for (const { stack, values, label } of samples) {
        // Sums of values near 2^53 are not exact: each stack gets its own label here.
        const labels = label?.key || label ? [label!] : [];
        const own = [
          ...labels,
          { key: "row", number: samples.findIndex((one) => one.values === values) + 1, unit: "" },
        ];
        builder.add(builder.stack(stack.map((i) => ids[i % ids.length]!)), values, builder.labels(own));
      }
      const profile = builder.finish();
      assert.deepEqual(contents(decodeProfile(encodePprof(profile))), contents(profile));
    }),
    { seed, numRuns: 200 },
  );
});
