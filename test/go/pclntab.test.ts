/** Function tables: what is looked up in the target's own table is what the copy says. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GoProcess } from "../../src/go/process.ts";
import { build, GoTarget } from "../support/go-target.ts";
import { currentGo } from "../support/go-toolchain.ts";

for (const version of ["1.16.15", "1.18.10", currentGo]) {
  test(`go${version}: functions after the table was given back`, async () => {
    await using target = await GoTarget.start(await build(version, "pie-strip"));
    using process = GoProcess.attach(target.pid);
    const { pclntab, text, etext } = process.runtime.modules[0]!;
    const pcs = [...pclntab.functions()].flatMap(({ entry, size }) => [entry, entry + (size >> 1)]);
    assert.ok(pcs.length > 2000, `${pcs.length}`);
    const places = [text - 1, etext + (1 << 20), ...pcs];
    const copied = places.map((pc) => pclntab.find(pc));
    pclntab.release(process.runtime.memory);
    assert.deepEqual(
      places.map((pc) => pclntab.find(pc)),
      copied,
    );
    assert.equal(pclntab.frameSize(copied.at(-1)!, places.at(-1)!), undefined);
  });
}
