import assert from "node:assert/strict";
import { test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { ProcscopeError } from "../../src/base/errors.ts";
import { ProfileBuilder } from "../../src/profile/builder.ts";
import { encoders } from "../../src/profile/encoders.ts";
import { encodePprof } from "../../src/profile/pprof.ts";
import { decodePprof } from "../../src/profile/pprof-reader.ts";
import { decodeProfile, looksLikeProfile } from "../../src/profile/readers.ts";
import { seed } from "../support/seed.ts";
import { encoded } from "./fixtures.ts";

const nasty = [
  "</script><script>alert(1)</script>",
  "<!--",
  '"]; N1 [label="x',
  "a\\nb\\",
  "]]>",
  "\x1b[31mred\x07",
  "π…日本",
  "&lt;&amp;",
  "x;y 12\nz 3",
  "constructor",
  "__proto__",
];

function nastyProfile() {
  const builder = new ProfileBuilder({ sampleTypes: [{ type: "cpu", unit: "nanoseconds" }], comments: nasty });
  const ids = nasty.map((name) => builder.location(builder.function(name, `/src/${name}.js`, 1), 2));
  for (let i = 0; i < ids.length; i++) builder.add(builder.stack([ids[i]!, ids[0]!]), [1000 + i]);
  return builder.finish();
}

test("no name gets out of its place in any format", async () => {
  const profile = nastyProfile();
  for (const encoder of encoders) {
    const text = (await encoded(encoder.encode(profile, { title: nasty[0]! }))).toString("latin1");
    assert.ok(text.length > 0, encoder.name);
    if (encoder.name === "html" || encoder.name === "svg") {
      assert.equal(text.includes("<script>alert"), false, encoder.name);
      assert.equal((text.match(/<\/script>/g) ?? []).length, encoder.name === "html" ? 2 : 0, encoder.name);
      assert.equal(text.includes('<!--"'), false, encoder.name);
    }
    if (encoder.name === "top") assert.equal(/[\x00-\x09\x0b-\x1f]/.test(text), false, "control characters in text");
  }
});

test("an SVG of nasty names is one well-formed element with every name in it", async () => {
  const svg = (await encoded(encoders.find((one) => one.name === "svg")!.encode(nastyProfile()))).toString();
  assert.equal((svg.match(/<svg/g) ?? []).length, 1);
  assert.match(svg, /&lt;\/script&gt;&lt;script&gt;alert\(1\)/);
  assert.match(svg, /&amp;lt;&amp;amp;/);
  assert.match(svg, /π…日本/);
});

test("folded text of nasty names reads back as as many stacks", async () => {
  const folded = await encoded(encoders.find((one) => one.name === "folded")!.encode(nastyProfile()));
  assert.equal(decodeProfile(folded).samples.count, nasty.length);
});

/** Runs a reader over bytes: it may refuse them with MALFORMED, and nothing else. */
function refusesCleanly(read: () => unknown, what: string): void {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof ProcscopeError && error.code === "MALFORMED", `${what}: ${error}`);
  }
}

test("a pprof file cut off or changed anywhere is refused or read, never worse", () => {
  const raw = gunzipSync(encodePprof(nastyProfile()));
  for (let end = 0; end < raw.length; end++) refusesCleanly(() => decodePprof(raw.subarray(0, end)), `cut at ${end}`);
  for (let at = 0; at < raw.length; at++) {
    for (const value of [0, 0x7f, 0x80, 0xff]) {
      const changed = Buffer.from(raw);
      changed[at] = value;
      refusesCleanly(() => decodePprof(changed), `byte ${at} = ${value}`);
    }
  }
});

test("random bytes are no profile and do no harm", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      refusesCleanly(() => decodeProfile(bytes), "random");
      refusesCleanly(() => decodePprof(bytes), "random as pprof");
    }),
    { seed, numRuns: 2000 },
  );
});

test("random JSON that claims to be V8's is refused or read", () => {
  const json = fc.record({
    nodes: fc.array(
      fc.record({ id: fc.nat(5), children: fc.array(fc.nat(5), { maxLength: 3 }), callFrame: fc.anything() }),
      { maxLength: 5 },
    ),
    samples: fc.array(fc.nat(6), { maxLength: 6 }),
    timeDeltas: fc.array(fc.integer(), { maxLength: 6 }),
    startTime: fc.integer(),
    endTime: fc.integer(),
  });
  fc.assert(
    fc.property(json, (value) => {
      refusesCleanly(() => decodeProfile(Buffer.from(JSON.stringify(value))), JSON.stringify(value));
    }),
    { seed, numRuns: 2000 },
  );
});

test("a small file that grows beyond all bounds is refused", () => {
  const bomb = gzipSync(Buffer.alloc(64 << 20));
  refusesCleanly(() => decodeProfile(bomb), "zeros");
  assert.throws(() => decodeProfile(Buffer.concat([bomb.subarray(0, 1000)])), { code: "MALFORMED" });
});

test("a goroutine dump, prose and source code are not taken for profiles", () => {
  const dump = "goroutine 1 [running]:\nmain.main()\n\t/src/main.go:5 +0x1d\n\ngoroutine 2 [select]:\n";
  for (const text of [
    dump,
    "Dear reader,\nthis is prose.\n",
    "package main\n\nfunc main() {}\n",
    "{}",
    "",
    "a 1\nb\n",
  ]) {
    assert.equal(looksLikeProfile(Buffer.from(text)), false, JSON.stringify(text));
  }
  assert.equal(looksLikeProfile(Buffer.from("main;work 12\nmain 3\n")), true);
  assert.equal(looksLikeProfile(encodePprof(nastyProfile())), true);
});

test("deep stacks are drawn and written without our own stack running out", async () => {
  const builder = new ProfileBuilder({ sampleTypes: [{ type: "samples", unit: "count" }] });
  const ids = Array.from({ length: 50 }, (_, i) => builder.location(builder.function(`f${i}`)));
  builder.add(builder.stack(Array.from({ length: 20_000 }, (_, i) => ids[i % 50]!)), [1]);
  const profile = builder.finish();
  for (const encoder of encoders) {
    if (["svg", "pdf"].includes(encoder.name)) continue;
    assert.ok((await encoded(encoder.encode(profile))).length > 0, encoder.name);
  }
});
