import assert from "node:assert/strict";
import { test } from "node:test";
import { formatDuration, parseDuration } from "../../src/base/duration.ts";

test("durations are read as they are written", () => {
  assert.equal(parseDuration("500ms"), 0.5);
  assert.equal(parseDuration("2"), 2);
  assert.equal(parseDuration("1h30m"), 5400);
  for (const bad of ["", "x", "5 m", "m5", "-1s"]) assert.throws(() => parseDuration(bad), { code: "USAGE" });
});

test("durations are written for people", () => {
  assert.equal(formatDuration(801_598), "802µs");
  assert.equal(formatDuration(1_500_000), "1.5ms");
  assert.equal(formatDuration(312e9), "5m12s");
});
