import assert from "node:assert/strict";
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openSink } from "../../src/cli/output.ts";

const folder = mkdtempSync(join(tmpdir(), "procscope-output-"));
after(() => rmSync(folder, { recursive: true }));

test("a file appears whole under its name, for its owner only, or not at all", () => {
  const path = join(folder, "whole");
  const sink = openSink(path);
  sink.write("one ");
  assert.deepEqual(readdirSync(folder).includes("whole"), false);
  sink.write("two");
  sink.close();
  assert.equal(readFileSync(path, "utf8"), "one two");
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const dropped = openSink(join(folder, "dropped"));
  dropped.write("x");
  dropped.discard();
  assert.deepEqual(readdirSync(folder), ["whole"]);
});

test("a device is written to and stays one; a full disk is an error", () => {
  const sink = openSink("/dev/full");
  assert.throws(() => sink.write("x"), { code: "IO", message: /ENOSPC/ });
  sink.discard();
  assert.ok(lstatSync("/dev/full").isCharacterDevice());
});

test("a link is followed, a folder is refused", () => {
  const target = join(folder, "target");
  const link = join(folder, "link");
  writeFileSync(target, "old");
  symlinkSync(target, link);
  const sink = openSink(link);
  sink.write("new");
  sink.close();
  assert.ok(lstatSync(link).isSymbolicLink());
  assert.equal(readFileSync(target, "utf8"), "new");
  assert.throws(() => openSink(folder), { code: "IO" });
  assert.throws(() => openSink(join(folder, "missing", "file")), { code: "IO" });
});
