/** What programs see of a mounted tree: the manners of procfs. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { bigFile } from "./demo-tree.ts";
import { eventually, type Served, serve, shell, skipReason } from "./fixture.ts";

describe("a mounted tree", { skip: skipReason }, () => {
  let served: Served;
  const ends: (() => unknown)[] = [];
  before(async () => {
    served = await serve({ after: (done) => ends.push(done) }, { tree: { many: 10_000 } });
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  test("shows names, types, modes, size 0 and a time", () => {
    assert.deepEqual(readdirSync(served.directory).sort(), [
      "big",
      "die-once",
      "fails",
      "halves",
      "late",
      "many",
      "mem",
      "native",
      "pid",
    ]);
    const file = statSync(served.path("mem/heap"));
    assert.equal(file.size, 0);
    assert.equal(file.mode & 0o177777, 0o100444);
    assert.ok(Math.abs(file.mtimeMs - Date.now()) < 60_000);
    const folder = statSync(served.path("mem"));
    assert.equal(folder.mode & 0o177777, 0o040555);
    assert.equal(folder.nlink, 2);
  });

  test("is read by the usual programs", () => {
    const line = /^1 2 3 4 5 \d+\n$/;
    assert.match(shell(served, "cat $D/mem/heap").out, line);
    assert.match(shell(served, "head -n 1 $D/mem/heap").out, line);
    assert.match(shell(served, "tail -n 1 $D/mem/heap").out, line);
    assert.equal(shell(served, "tail -c 5 $D/big").out, bigFile.subarray(-5).toString());
    assert.equal(
      shell(served, "dd if=$D/big bs=7 skip=3 count=1 status=none").out,
      bigFile.subarray(21, 28).toString(),
    );
    assert.match(shell(served, "cp $D/mem/heap $D.copy && cat $D.copy").out, line);
    assert.equal(shell(served, "wc -c < $D/big").out.trim(), "1048576");
    assert.match(shell(served, "grep -r '1 2 3' $D/mem").out, /mem\/heap:1 2 3 4 5 \d+\n$/);
    assert.match(
      shell(served, "timeout 1 watch -n 0.2 -t cat $D/mem/heap < /dev/null 2>&1; cat $D/mem/heap").out,
      /1 2 3 4 5/,
    );
    assert.match(shell(served, `python3 -c 'print(open("'$D'/mem/heap").read(), end="")'`).out, line);
    assert.equal(shell(served, "cat $D/mem/empty").out, "");
  });

  test("find, du, df and stat -f walk it", () => {
    assert.equal(shell(served, "find $D -maxdepth 2 -name heap | wc -l").out.trim(), "1");
    assert.equal(shell(served, "du -s $D/mem").status, 0);
    assert.match(shell(served, "df $D | tail -n 1").out, /^procscope /);
    assert.match(shell(served, "stat -f -c '%s %l' $D").out, /^4096 255/);
  });

  test("gives long files whole, at any offset", () => {
    const sum = createHash("md5").update(bigFile).digest("hex");
    assert.match(shell(served, "md5sum $D/big").out, new RegExp(`^${sum}`));
    const fd = openSync(served.path("big"), "r");
    try {
      const buffer = Buffer.alloc(300_000);
      for (const offset of [1, 4095, 262_144, 1_048_575]) {
        const length = readSync(fd, buffer, 0, buffer.length, offset);
        assert.equal(Buffer.compare(buffer.subarray(0, length), bigFile.subarray(offset, offset + 300_000)), 0);
      }
      assert.equal(readSync(fd, buffer, 0, 10, 2 ** 20), 0);
      assert.equal(readSync(fd, buffer, 0, 10, 2 ** 33), 0);
    } finally {
      closeSync(fd);
    }
  });

  test("refuses every change with EROFS", () => {
    for (const line of [
      "echo x > $D/mem/heap",
      "echo x >> $D/new",
      "touch $D/mem/heap",
      "mkdir $D/new",
      "rm -f $D/mem/heap",
      "rmdir $D/mem",
      "mv $D/mem/heap $D/x",
      "ln -s x $D/x",
      "chmod 777 $D/mem",
    ]) {
      const done = shell(served, line);
      assert.notEqual(done.status, 0, line);
      assert.match(done.err, /Read-only file system/, line);
    }
  });

  test("answers ENOENT, EISDIR, ENOTDIR and EIO, the reason of EIO in the log", async () => {
    const errno = (path: string): string | undefined => {
      try {
        readFileSync(served.path(path));
      } catch (error) {
        return (error as NodeJS.ErrnoException).code;
      }
      return undefined;
    };
    assert.equal(errno("nope"), "ENOENT");
    assert.equal(errno("mem/nope"), "ENOENT");
    assert.equal(errno(`mem/${"x".repeat(300)}`), "ENAMETOOLONG");
    assert.equal(errno("mem"), "EISDIR");
    assert.equal(errno("mem/heap/x"), "ENOTDIR");
    assert.equal(errno("fails"), "EIO");
    await served.says(/log: the reason why this file fails/);
  });

  test("a file kept open is fresh at offset 0, and one snapshot at others", () => {
    const fd = openSync(served.path("mem/heap"), "r");
    const halves = [openSync(served.path("halves"), "r"), openSync(served.path("halves"), "r")] as const;
    try {
      const read = (): string => {
        const buffer = Buffer.alloc(100);
        return buffer.toString("utf8", 0, readSync(fd, buffer, 0, 100, 0));
      };
      assert.notEqual(read(), read());
      // Two readers in turns, each sees two equal halves although the file is different at each open.
      const texts = ["", ""];
      const buffer = Buffer.alloc(65536);
      for (let more = true; more; ) {
        more = false;
        for (const [i, half] of halves.entries()) {
          const length = readSync(half, buffer, 0, buffer.length, null);
          texts[i] += buffer.toString("latin1", 0, length);
          more ||= length > 0;
        }
      }
      for (const text of texts) assert.equal(text.slice(0, text.length / 2), text.slice(text.length / 2));
      assert.notEqual(texts[0], texts[1]);
    } finally {
      for (const open of [fd, ...halves]) closeSync(open);
    }
  });

  test("contents that take time come, and Ctrl-C ends the wait but not the server", async () => {
    assert.equal(shell(served, "cat $D/late/async").out, "async done\n");
    const reader = spawn("cat", [served.path("late/slow")], { stdio: "ignore" });
    await new Promise((resolve) => setTimeout(resolve, 300));
    const asked = performance.now();
    reader.kill("SIGINT");
    await eventually(() => reader.signalCode, "the reader's end");
    assert.ok(performance.now() - asked < 1500, "the reader ended long before the contents came");
    assert.match(readFileSync(served.path("mem/heap"), "utf8"), /^1 2 3/);
    assert.equal(readFileSync(served.path("late/async"), "utf8"), "async done\n");
  });

  test("a slow file does not hold up a quick one", () => {
    const busy = spawn("cat", [served.path("late/busy")], { stdio: "ignore" });
    try {
      // It takes a second of CPU; a thread that they share would let no read through before its end.
      let reads = 0;
      const end = performance.now() + 900;
      while (performance.now() < end) {
        readFileSync(served.path("mem/heap"));
        if (performance.now() < end) reads++;
      }
      assert.ok(reads >= 3, `${reads} reads meanwhile`);
    } finally {
      busy.kill();
    }
  });

  test("lists 10,000 names, each once", () => {
    const names = readdirSync(served.path("many"));
    assert.equal(new Set(names).size, 10_000);
    assert.equal(names.length, 10_000);
    assert.equal(shell(served, "ls -l $D/many | wc -l").out.trim(), "10001");
  });

  test("serves eight readers at once", async () => {
    const script = "for i in $(seq 50); do cat $D/halves $D/mem/heap $D/late/pieces || exit 1; done | wc -c";
    const readers = Array.from({ length: 8 }, () =>
      spawn("bash", ["-c", script.replace("50", "5")], {
        env: { ...process.env, D: served.directory },
        stdio: ["ignore", "pipe", "inherit"],
      }),
    );
    const sizes = await Promise.all(
      readers.map(async (reader) => {
        let text = "";
        for await (const chunk of reader.stdout) text += chunk;
        return Number(text);
      }),
    );
    for (const size of sizes) assert.ok(size > 5 * 1_188_890, `${size} bytes`);
  });

  test("the server reads its own mount", async () => {
    served.tell(`read ${served.path("mem/heap")}`);
    await served.says(/own: 1 2 3 4 5 \d+/);
  });

  test("10,000 opens leave no descriptor and no open file behind", async () => {
    const pid = served.child.pid!;
    const descriptors = (): number => readdirSync(`/proc/${pid}/fd`).length;
    readFileSync(served.path("late/async"));
    const before = descriptors();
    for (let i = 0; i < 10_000; i++) readFileSync(served.path(i % 10 === 0 ? "late/async" : "mem/heap"));
    assert.ok(descriptors() <= before, `${before} descriptors before, ${descriptors()} after`);
    // The last release and the question come to the server by different ways.
    const nothing = JSON.stringify({ kind: "held", files: 0, bytes: 0, waiting: 0 });
    await eventually(() => {
      served.tell("held");
      return served.output.includes(`held: ${nothing}`);
    }, "nothing held");
  });
});

describe("limits of what open files may hold", { skip: skipReason }, () => {
  test("one file is cut, and says so; all together get ENOMEM, with the reason in the log", async (t) => {
    const served = await serve(t, { limits: { fileLimit: 100_000, totalLimit: 250_000 } });
    const text = readFileSync(served.path("late/endless"), "utf8");
    assert.ok(text.length <= 100_000);
    assert.match(text, /line 0 [^\n]*\n[\s\S]*\n\.\.\. cut here: longer than 100000 bytes, [^\n]*\n$/);
    const open = [0, 1, 2].map(() => openSync(served.path("late/endless"), "r"));
    try {
      const buffer = Buffer.alloc(10);
      readSync(open[0]!, buffer);
      readSync(open[1]!, buffer);
      assert.throws(() => readSync(open[2]!, buffer), { code: "ENOMEM" });
      await served.says(/log: open files hold \d+ bytes already/);
    } finally {
      for (const fd of open) closeSync(fd);
    }
    // Closing gave the memory back.
    await eventually(() => {
      try {
        return readFileSync(served.path("late/endless")).length > 0;
      } catch {
        return false;
      }
    }, "a read after the others were closed");
  });
});

describe("who may read", { skip: skipReason }, () => {
  test("the owner alone with mode 0400, a third user is refused", async (t) => {
    const served = await serve(t, { tree: { mode: 0o400, uid: 1234, gid: 1234 } });
    const as = (uid: number, words: string) =>
      shell(served, `setpriv --reuid=${uid} --regid=${uid} --clear-groups ${words}`);
    shell(served, `chmod 755 $(dirname $D)`);
    assert.match(as(1234, "cat $D/mem/heap").out, /^1 2 3/);
    assert.match(as(1234, "ls $D").out, /mem/);
    for (const words of ["cat $D/mem/heap", "ls $D", "stat $D/mem"]) {
      const refused = as(65534, words);
      assert.notEqual(refused.status, 0);
      assert.match(refused.err, /Permission denied/);
    }
  });
});
