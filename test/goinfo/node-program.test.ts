/** procscope/goinfo in a real Node program: layout, data sources, a blocked event loop, and every way to end. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually, mountedUnder, type Served, skipReason, temporaryPrefix } from "../fuse/fixture.ts";
import { all, read, startProgram } from "./running.ts";

describe("goinfo in a Node program", { skip: skipReason }, () => {
  let served: Served;
  const ends: (() => unknown)[] = [];
  before(async () => {
    served = await startProgram({ after: (done) => ends.push(done) });
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  test("~ is the home folder, and the layout is goinfo's", () => {
    assert.deepEqual(readdirSync(served.directory).sort(), ["early", "info", "late", "mem", "st"]);
    assert.deepEqual(readdirSync(served.path("mem")).sort(), [
      ...["all.json", "buckethash", "gc", "genmem", "heap", "mcache", "mspan", "stack"],
    ]);
    assert.equal(statSync(served.path("mem/heap")).mode & 0o777, 0o400);
    assert.match(read(served, "mem/genmem"), /^\d+ - \d+ 0 - -\n$/);
    assert.match(read(served, "mem/heap"), /^(\d+ ){5}-\n$/);
    assert.match(read(served, "mem/gc"), /^(\d+ ){4}true false\n$/);
    assert.match(read(served, "mem/stack"), /^\d+ \d+\n$/);
    assert.match(read(served, "info"), new RegExp(`^pid ${served.child.pid}\nnode v`));
  });

  test("the figures are the program's own, within its rights", async () => {
    const { pid, figures } = await eventually(() => {
      const now = all(served);
      return now.live && now;
    }, "live figures");
    assert.equal(pid, served.child.pid);
    assert.ok(figures["HeapAlloc"]! <= figures["HeapSys"]!);
    assert.equal(figures["HeapIdle"]! + figures["HeapInuse"]!, figures["HeapSys"]);
    assert.equal(figures["Mallocs"], null);
    const rss = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024;
    assert.ok(figures["Alloc"]! > 1e6 && figures["Alloc"]! < rss);
  });

  test("data sources: bytes and text, at once and later, errors, sizes and times", async () => {
    const first = Number(read(served, "early/count"));
    assert.equal(Number(read(served, "early/count")), first + 1);
    assert.deepEqual([...readFileSync(served.path("early/bytes"))], [1, 2, 3]);
    assert.equal(read(served, "late/async"), "async later\n");
    const names = readdirSync(served.path("late"));
    assert.ok(names.includes("async") && !names.some((name) => name.includes("bad")), String(names));
    assert.equal(statSync(served.path("late/async")).size, 12);
    assert.equal(statSync(served.path("late/async")).mtimeMs, 86_400_000);
    assert.throws(() => read(served, "early/throws"), { code: "EIO" });
    await served.says(/^log early\/throws: a source that throws$/m);
    assert.throws(() => read(served, "early/nothing"), { code: "EIO" });
    assert.throws(() => read(served, "early/nope"), { code: "ENOENT" });
    assert.throws(() => read(served, "late/now-never"), { code: "ENOENT" });
    for (const name of ["mem", "a/b", "..", ""]) served.tell(`bad ${name}`);
    await eventually(() => (served.output.match(/^bad USAGE$/gm)?.length === 4 ? true : undefined), "four refusals");
  });

  test("a second start of the same place does nothing", async () => {
    served.tell("again");
    await served.says(/^done again$/m);
    assert.equal(mountedUnder(served.directory).length, 1);
  });

  test("mem/* is live while the event loop is blocked by a loop, and in Atomics.wait", async () => {
    for (const word of ["spin", "wait"]) {
      served.tell(`${word} 3000`);
      await served.says(new RegExp(`^begin ${word}$`, "m"));
      await sleep(100);
      // Who is not answered within 30 ms gets the last sample; on a crowded machine that is now and then.
      await eventually(() => all(served).live, `live beside ${word}`, 1500);
      const begin = performance.now();
      const first = all(served);
      assert.match(read(served, "mem/genmem"), /^\d+ - /);
      assert.ok(performance.now() - begin < 1000, "answered while blocked");
      const second = await eventually(
        () => {
          const now = all(served);
          return now.live && (word === "wait" || now.figures["HeapAlloc"] !== first.figures["HeapAlloc"]) && now;
        },
        `live beside ${word} again`,
        1000,
      );
      assert.ok(second.live);
      assert.doesNotMatch(served.output, new RegExp(`^done ${word}$`, "m"));
      const stack = read(served, "st/stacktrace");
      assert.match(stack, word === "spin" ? /^main thread \[running\]:\n\tat spinForTheTest /m : /at Atomics\.wait /);
      await served.says(new RegExp(`^done ${word}$`, "m"));
    }
  });

  test("in native code the last sample is given at once, with its age; sources time out", async () => {
    served.tell("sleep 2");
    await served.says(/^begin sleep$/m);
    await sleep(200);
    const begin = performance.now();
    const first = all(served);
    const second = all(served);
    assert.ok(performance.now() - begin < 1000, "answered while blocked");
    assert.ok(!first.live && !second.live);
    assert.ok(second.ageMilliseconds >= first.ageMilliseconds && first.ageMilliseconds >= 100);
    assert.match(read(served, "st/stacktrace"), /^main thread \[no answer/m);
    assert.throws(() => read(served, "early/count"), { errno: -110 });
    await served.says(/^done sleep$/m);
    await eventually(() => all(served).live || undefined, "live again");
  });

  test("the program reads its own mount with readFileSync", async () => {
    served.tell(`read ${served.path("mem/genmem")}`);
    const own = JSON.parse((await served.says(/^own (.*)$/m))[1]!) as { milliseconds: number; outcome: string };
    assert.match(own.outcome, /^\d+ - \d+ 0 - -$/);
    assert.ok(own.milliseconds < 1000, `${own.milliseconds} ms`);
    // A source of its own would wait for itself: an error after the time that was set, not for ever.
    served.tell(`read ${served.path("early/count")}`);
    await served.says(/^own .*(ETIMEDOUT|EINTR)/m);
  });

  test("st/stacktrace shows the program's workers, not ours", async () => {
    served.tell("worker");
    await served.says(/^done worker$/m);
    const stack = await eventually(() => {
      const text = read(served, "st/stacktrace");
      return text.includes("inTheWorker") ? text : undefined;
    }, "the worker's function");
    assert.match(stack, /^worker \d+ of the test \[running\]:\n\tat .*inTheWorker/m);
    assert.doesNotMatch(stack, /procscope fuse/);
  });

  test("serving many readers leaves the event loop free", async () => {
    const line = `while :; do cat ${served.directory}/mem/* > /dev/null; done`;
    const readers = [1, 2].map(() => spawn("bash", ["-c", line], { stdio: "ignore" }));
    try {
      served.tell("delay 1000");
      const { p90 } = JSON.parse((await served.says(/^delay (.*)$/m))[1]!) as { p90: number };
      assert.ok(p90 < 200, `nine of ten turns of the event loop came within ${p90} ms`);
    } finally {
      for (const reader of readers) reader.kill("SIGKILL");
    }
  });

  test("stop takes the mount down, and it can be started again", async () => {
    served.tell(`other ${served.directory}-2`);
    await served.says(/^done other$/m);
    served.tell("stop ");
    await served.says(/^done stop$/m);
    assert.deepEqual(mountedUnder(served.directory), []);
    assert.equal(mountedUnder(`${served.directory}-2`).length, 1);
    const before = served.output.length;
    served.tell("again");
    await eventually(() => served.output.slice(before).includes("done again") || undefined, "the second start");
    assert.match(read(served, "mem/genmem"), /^\d+ - /);
    served.tell("stopAll");
    await served.says(/^done stopAll$/m);
    assert.deepEqual([...mountedUnder(served.directory), ...mountedUnder(`${served.directory}-2`)], []);
  });
});

describe("a Node program with goinfo ends as without it", { skip: skipReason }, () => {
  const unmounted = (served: Served) =>
    eventually(() => mountedUnder(served.directory).length === 0 || undefined, "the unmount", 5000);

  test("by itself, when it has nothing left to do", async (t) => {
    const served = await startProgram(t);
    served.child.stdin?.end();
    assert.equal(await served.exited(), 0);
    assert.deepEqual(mountedUnder(served.directory), []);
    assert.doesNotMatch(served.output, /debugger/);
  });

  for (const [line, status] of [
    ["exit 5", 5],
    ["throw", 1],
  ] as const) {
    test(`by ${line}`, async (t) => {
      const served = await startProgram(t);
      read(served, "mem/heap");
      served.tell(line);
      assert.equal(await served.exited(), status);
      assert.deepEqual(mountedUnder(served.directory), []);
    });
  }

  for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
    test(`by ${signal}, even while its event loop is blocked`, async (t) => {
      const served = await startProgram(t);
      served.tell("spin 20000");
      await served.says(/^begin spin$/m);
      served.child.kill(signal);
      assert.equal(await served.exited(), signal);
      await unmounted(served);
      assert.ok(!existsSync(served.path("mem")));
    });
  }
});

test("nothing of these tests stays mounted", { skip: skipReason }, () => {
  assert.equal(spawnSync("grep", ["-c", temporaryPrefix, "/proc/self/mounts"]).stdout.toString().trim(), "0");
});
