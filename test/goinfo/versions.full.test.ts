/** The in-process tree, and the server itself, on every Node version that procscope runs on. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually, mountedUnder, serve, shell, skipReason } from "../fuse/fixture.ts";
import { nodeBinary, nodeVersions } from "../setup/nodes.ts";
import { all, read, startProgram } from "./running.ts";

for (const version of nodeVersions) {
  const node = skipReason ? undefined : nodeBinary(version);
  const skip = skipReason || (node === undefined && `npm could not give Node ${version}`);

  describe(`on Node ${version}`, { skip }, () => {
    test("the figures are live while the event loop is blocked", async (t) => {
      const served = await startProgram(t, node);
      assert.match(read(served, "info"), new RegExp(`^node v${version}$`, "m"));
      for (const word of ["spin", "wait"]) {
        served.tell(`${word} 2000`);
        await served.says(new RegExp(`^begin ${word}$`, "m"));
        // It says so before it does it.
        await sleep(100);
        await eventually(() => all(served).live, `live figures beside ${word}`, 1500);
        assert.match(read(served, "st/stacktrace"), word === "spin" ? /at spinForTheTest / : /at Atomics\.wait /);
        await served.says(new RegExp(`^done ${word}$`, "m"));
      }
      served.tell(`read ${served.path("mem/heap")}`);
      await served.says(/^own .*"outcome":"(\d+ ){5}-"/m);
      served.child.stdin?.end();
      assert.equal(await served.exited(), 0);
      assert.deepEqual(mountedUnder(served.directory), []);
      assert.doesNotMatch(served.output, /debugger|Warning/);
    });

    test("a server serves, and survives under a supervisor", async (t) => {
      const served = await serve(t, { supervise: true }, ([, ...words]) => [node!, ...words]);
      assert.match(readFileSync(served.path("mem/heap"), "utf8"), /^1 2 3/);
      assert.equal(readFileSync(served.path("late/async"), "utf8"), "async done\n");
      assert.match(shell(served, "timeout 20 cat $D/die-once").out, /^survived/);
      served.child.kill("SIGTERM");
      assert.equal(await served.exited(), 0);
      await eventually(() => mountedUnder(served.directory).length === 0 || undefined, "the unmount");
    });
  });
}
