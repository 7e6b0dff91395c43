import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { whyNoSnapshot } from "../../src/memdebug/watch.ts";

test("a snapshot that could exhaust memory or disk is refused with the numbers", () => {
  assert.equal(whyNoSnapshot(tmpdir(), 10 << 20, 1 << 30), undefined);
  assert.match(whyNoSnapshot(tmpdir(), 200 << 20, 1 << 30)!, /1\.0GiB of memory free, and writing it may take 1\.6GiB/);
  assert.match(whyNoSnapshot(tmpdir(), 2 ** 60, 2 ** 64)!, /of disk free in/);
});
