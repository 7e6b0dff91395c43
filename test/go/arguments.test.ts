import assert from "node:assert/strict";
import { test } from "node:test";
import { argumentPlan } from "../../src/go/arguments.ts";
import { ConstantData } from "../../src/go/constant-data.ts";
import type { GoModule } from "../../src/go/module.ts";
import type { PcFunction } from "../../src/go/pclntab.ts";
import { tracebackRules } from "../../src/go/traceback-rules.ts";

const program = 0x10000;
const liveness = 0x10100;

/** The plan's text with the values as <offset:size>. */
function shown(bytes: readonly number[], options: { minor?: number; args?: number; live?: readonly number[] } = {}) {
  const memory = Buffer.alloc(8192);
  Buffer.from(bytes).copy(memory, 0);
  Buffer.from(options.live ?? []).copy(memory, liveness - program);
  const data = new ConstantData({
    readInto: (target, offset, length, address) =>
      address >= program && address + length <= program + memory.length
        ? memory.copy(target, offset, address - program, address - program + length)
        : 0,
    readRanges: () => assert.fail("not used"),
  });
  const pclntab = {
    funcData: (_: PcFunction, index: number) => (index === 5 ? program : options.live ? liveness : 0),
    pcData: () => (options.live ? 1 : -1),
  };
  const fn = { argsSize: options.args ?? 0 } as PcFunction;
  const plan = argumentPlan(data, tracebackRules(options.minor ?? 26), { pclntab } as unknown as GoModule, fn, 0);
  return plan.literals
    .map((literal, i) => literal + (i < plan.offsets.length ? `<${plan.offsets[i]}:${plan.sizes[i]}>` : ""))
    .join("");
}

test("values, aggregates, what is too far away and what is left out", () => {
  assert.equal(shown([0xff]), "");
  assert.equal(shown([0, 8, 8, 4, 0xff]), "<0:8>, <8:4>");
  assert.equal(shown([0, 8, 0xfe, 8, 8, 16, 8, 0xfd, 24, 1, 0xff]), "<0:8>, {<8:8>, <16:8>}, <24:1>");
  assert.equal(shown([0xfe, 0xfd, 0xfe, 0xfe, 0, 8, 0xfd, 0xfd, 0xff]), "{}, {{<0:8>}}");
  assert.equal(shown([0, 8, 0xfb, 0xfc, 0xff]), "<0:8>, _, ...");
});

test("registers that may be stale are marked by the liveness map", () => {
  // From offset 8 on liveness counts; slot 0 is live, slot 1 is not.
  assert.equal(shown([0, 8, 8, 8, 16, 8, 0xff], { live: [8, 0b01] }), "<0:8>, <8:8>, <16:8>?");
  assert.equal(shown([0, 8, 8, 8, 16, 8, 0xff], { live: [8, 0b01], minor: 17 }), "<0:8>, <8:8>, <16:8>");
});

test("before Go 1.17 arguments are words, ten at most", () => {
  assert.equal(shown([], { minor: 16, args: 24 }), "<0:8>, <8:8>, <16:8>");
  assert.equal(shown([], { minor: 16, args: 0 }), "");
  assert.match(shown([], { minor: 16, args: 88 }), /<72:8>, \.\.\.$/);
  assert.match(shown([], { minor: 16, args: -0x80000000 }), /<72:8>, \.\.\.$/);
});

test("a program that does not end, or has impossible sizes, ends all the same", () => {
  assert.ok(shown(Array.from({ length: 4000 }, () => 0xfe)).length < 1000);
  assert.equal(shown([0, 8, 8, 99, 0xff]), "<0:8>, ");
});
