import assert from "node:assert/strict";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { goDuration, memoryLine, type Reading } from "../../src/memdebug/line.ts";

const reading: Reading = {
  elapsed: 801_598,
  change: 139_224,
  heap: 100_190_264,
  system: 144_013_560,
  systemGrew: false,
  stack: 1_900_544,
};

test("the line is that of the original, with a sign where there is no colour", () => {
  assert.equal(
    memoryLine({ ...reading, change: 139_224 }, "entrant updated", true).replace(/\x1b\[\d+m/g, ""),
    "   801.598µs (  139224): 100190264: 144013560:   1900544 <-   [entrant updated]\n",
  );
  assert.equal(
    memoryLine(reading, "entrant updated", false),
    "   801.598µs ( +139224): 100190264: 144013560:   1900544 <-   [entrant updated]\n",
  );
  assert.equal(
    memoryLine({ ...reading, change: -5 }, "freed", false),
    "   801.598µs (      -5): 100190264: 144013560:   1900544 <-   [freed]\n",
  );
});

test("consumed is yellow, freed is green, a system that grew is red", () => {
  const consumed = memoryLine({ ...reading, systemGrew: true }, "x", true);
  assert.ok(consumed.includes("\x1b[33m  139224\x1b[39m"));
  assert.ok(consumed.includes("\x1b[31m 144013560\x1b[39m"));
  const freed = memoryLine({ ...reading, change: -139_224 }, "x", true);
  assert.ok(freed.includes("\x1b[32m  139224\x1b[39m"));
  assert.equal(freed.includes("\x1b[31m"), false);
  assert.equal(stripVTControlCharacters(memoryLine(reading, "x", false)), memoryLine(reading, "x", false));
});

test("what is not known is a question mark", () => {
  assert.equal(
    memoryLine({ ...reading, elapsed: undefined, stack: undefined }, "x", false),
    "           ? ( +139224): 100190264: 144013560:         ? <-   [x]\n",
  );
});

test("durations are written as Go writes them", () => {
  const written = [
    0, 1, 999, 1000, 1500, 801_598, 1e6, 1.234567e6, 999_999_999, 1e9, 1.5e9, 60e9, 62.5e9, 3600e9, 3_662e9, -1500,
  ];
  assert.deepEqual(written.map(goDuration), [
    "0s",
    "1ns",
    "999ns",
    "1µs",
    "1.5µs",
    "801.598µs",
    "1ms",
    "1.234567ms",
    "999.999999ms",
    "1s",
    "1.5s",
    "1m0s",
    "1m2.5s",
    "1h0m0s",
    "1h1m2s",
    "-1.5µs",
  ]);
});
