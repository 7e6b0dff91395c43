import assert from "node:assert/strict";
import { test } from "node:test";
import { procscope } from "../support/cli.ts";
import { build, startHttp } from "../support/go-target.ts";
import { currentGo } from "../support/go-toolchain.ts";

test("top --cpu without a terminal: functions by CPU, one line a look, then it ends", async () => {
  const target = await startHttp(await build(currentGo, "strip", "busy"));
  try {
    const { status, stdout, stderr } = await procscope([
      "top",
      "--cpu",
      "--pid",
      String(target.pid),
      "-i",
      "1",
      "--count",
      "2",
    ]);
    assert.equal(status, 0, stderr);
    const looks = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.equal(looks.length, 2);
    for (const { schema, cpu } of looks) {
      assert.equal(schema, "procscope/top/1");
      assert.equal(cpu.kind, "cpu");
      assert.ok(cpu.samples > 0);
      assert.ok(cpu.functions.some(({ name }: { name: string }) => name.startsWith("main.")));
    }
    assert.equal((await procscope(["top", "--cpu"])).status, 2);
  } finally {
    await target.end();
  }
});
