import assert from "node:assert/strict";
import { test } from "node:test";
import { packageRoot } from "../../src/base/package-root.ts";
import { brokenImports } from "../../tools/check-imports.ts";

test("rooms import only from the rooms above them", () => {
  assert.deepEqual(brokenImports(packageRoot), []);
});
