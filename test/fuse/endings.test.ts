/** How a mount begins and ends: nothing is hidden, nothing stays behind, nothing hangs. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { ffiAvailable } from "../../src/kernel/ffi.ts";
import { parseMountLine } from "../../src/kernel/mountinfo.ts";
import { eventually, launch, mountedUnder, type Served, serve, shell, skipReason, temporaryFolder } from "./fixture.ts";

const heap = /^1 2 3 4 5 \d+\n$/;
const gone = (served: Served): Promise<true> =>
  eventually(() => mountedUnder(served.directory).length === 0 || undefined, "the unmount") as Promise<true>;

describe("a mount ends with its server", { skip: skipReason }, () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    test(`on ${signal}, also while a file is open`, async (t) => {
      const served = await serve(t);
      const fd = openSync(served.path("mem/heap"), "r");
      try {
        served.child.kill(signal);
        assert.equal(await served.exited(), 0);
        assert.deepEqual(mountedUnder(served.directory), []);
        assert.throws(() => readSync(fd, Buffer.alloc(10)), { code: /ENOTCONN|ECONNABORTED|EIO/ });
      } finally {
        closeSync(fd);
      }
    });
  }

  for (const [word, status] of [
    ["exit", 7],
    ["throw", 1],
  ] as const) {
    test(`on ${word === "exit" ? "process.exit()" : "an uncaught error"}`, async (t) => {
      const served = await serve(t);
      served.tell(word);
      assert.equal(await served.exited(), status);
      assert.deepEqual(mountedUnder(served.directory), []);
    });
  }

  test("on umount by somebody else the server ends too", async (t) => {
    const served = await serve(t);
    assert.equal(spawnSync("umount", [served.directory]).status, 0);
    await served.says(/^ended$/m);
  });

  test("after kill -9 the watcher takes it down, within seconds", async (t) => {
    const served = await serve(t);
    const killed = performance.now();
    served.child.kill("SIGKILL");
    await gone(served);
    assert.ok(performance.now() - killed < 3000, `${performance.now() - killed} ms`);
  });

  test("the watcher leaves alone what is not ours any more", async (t) => {
    const served = await serve(t);
    assert.equal(spawnSync("umount", [served.directory]).status, 0);
    assert.equal(spawnSync("mount", ["-t", "tmpfs", "other", served.directory]).status, 0);
    served.child.kill("SIGKILL");
    await served.exited();
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.deepEqual(mountedUnder(served.directory), [served.directory]);
  });
});

describe("a dead mount", { skip: skipReason }, () => {
  test("is found and replaced at the next start", async (t) => {
    const served = await serve(t);
    // Without its watcher: both are killed together.
    for (const child of childrenOf(served.child.pid!)) process.kill(child, "SIGKILL");
    served.child.kill("SIGKILL");
    await served.exited();
    assert.throws(() => statSync(served.directory), { code: "ENOTCONN" });
    const second = await serve(t, { directory: served.directory });
    assert.match(readFileSync(second.path("mem/heap"), "utf8"), heap);
  });
});

describe("with a supervisor", { skip: skipReason }, () => {
  test("a read in flight survives kill -9 of the server", async (t) => {
    const served = await serve(t, { supervise: true });
    const first = Number(served.output.match(/ready (\d+)/)![1]);
    const fd = openSync(served.path("mem/heap"), "r");
    try {
      // This file kills its server while it is being read.
      const done = shell(served, "timeout 20 cat $D/die-once");
      assert.match(done.out, /^survived in \d+\n$/, done.err);
      assert.notEqual(Number(done.out.match(/\d+/)![0]), first);
      await served.says(/log: the server died \(SIGKILL\)/);
      const buffer = Buffer.alloc(100);
      assert.match(buffer.toString("utf8", 0, readSync(fd, buffer, 0, 100, 0)), heap);
    } finally {
      closeSync(fd);
    }
    assert.match(readFileSync(served.path("mem/heap"), "utf8"), heap);
    served.child.kill("SIGTERM");
    assert.equal(await served.exited(), 0);
    assert.deepEqual(mountedUnder(served.directory), []);
  });

  test("the rest of a snapshot that died with its server is ESTALE, not another snapshot's", async (t) => {
    const served = await serve(t, { supervise: true });
    const fd = openSync(served.path("halves"), "r");
    try {
      readSync(fd, Buffer.alloc(1000), 0, 1000, 0);
      const pid = Number(readFileSync(served.path("pid"), "utf8"));
      process.kill(pid, "SIGKILL");
      await served.says(/the server died/);
      assert.throws(() => readSync(fd, Buffer.alloc(1000), 0, 1000, 1000), { errno: -116 });
    } finally {
      closeSync(fd);
    }
  });

  test("kill -9 of the supervisor takes the mount down too", async (t) => {
    const served = await serve(t, { supervise: true });
    const server = Number(served.output.match(/ready (\d+)/)![1]);
    served.child.kill("SIGKILL");
    await gone(served);
    await eventually(() => !alive(server), "the end of the server");
  });
});

describe("a place to mount at", { skip: skipReason }, () => {
  const refused = async (t: Parameters<typeof serve>[0], directory: string, reason: RegExp): Promise<void> => {
    const served = launch(t, { directory });
    assert.equal(await served.exited(), 1);
    assert.match(served.output, reason);
  };

  test("is created where only it is missing", async (t) => {
    const folder = temporaryFolder(t);
    await serve(t, { directory: join(folder, "new") });
    await refused(t, join(folder, "a/b"), /\/a does not exist/);
  });

  test("is refused where it is a file, not empty, served already, or another mount", async (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, "file"), "");
    mkdirSync(join(folder, "full"));
    writeFileSync(join(folder, "full/x"), "");
    mkdirSync(join(folder, "tmpfs"));
    spawnSync("mount", ["-t", "tmpfs", "other", join(folder, "tmpfs")]);
    await serve(t, { directory: join(folder, "served") });
    await refused(t, join(folder, "file"), /file is not a folder/);
    await refused(t, join(folder, "full"), /full is not empty/);
    await refused(t, join(folder, "served"), /another procscope serves/);
    await refused(t, join(folder, "tmpfs"), /something else is mounted at .*: tmpfs \(other\)/);
  });

  test("is found through symbolic links and odd names", async (t) => {
    const folder = temporaryFolder(t);
    const odd = join(folder, "with space\\and\ttab");
    mkdirSync(odd);
    spawnSync("ln", ["-s", odd, join(folder, "link")]);
    const served = await serve(t, { directory: join(folder, "link") });
    assert.match(readFileSync(join(odd, "mem/heap"), "utf8"), heap);
    served.child.kill("SIGTERM");
    assert.equal(await served.exited(), 0);
    assert.deepEqual(mountedUnder(folder), []);
  });

  test("lines of mountinfo are read with their escapes", () => {
    assert.deepEqual(parseMountLine("36 35 98:0 / /a\\040b rw shared:1 - fuse.procscope my\\134source rw"), {
      id: 36,
      minor: 0,
      mountPoint: "/a b",
      type: "fuse.procscope",
      source: "my\\source",
    });
    assert.equal(parseMountLine("nonsense"), undefined);
  });
});

describe("ways to mount", { skip: skipReason }, () => {
  test("as root by mount(2)", { skip: !ffiAvailable().available && "koffi is not installed" }, async (t) => {
    const served = await serve(t, { method: "syscall" });
    assert.match(readFileSync(served.path("mem/heap"), "utf8"), heap);
  });

  test("as root by the mount command, without native functions", async (t) => {
    const served = await serve(t, { method: "command" });
    assert.match(readFileSync(served.path("mem/heap"), "utf8"), heap);
    assert.throws(() => writeFileSync(served.path("mem/heap"), ""), { code: "EROFS" });
  });

  test("as root where koffi is not installed at all", async (t) => {
    const folder = temporaryFolder(t);
    const hide = join(folder, "hide.cjs");
    writeFileSync(
      hide,
      `const module_ = require("node:module"); const load = module_._load;
       module_._load = function (name, ...rest) {
         if (name === "koffi") throw new Error("hidden");
         return load.call(this, name, ...rest);
       };`,
    );
    const served = await serve(t, { directory: join(folder, "mount"), supervise: true }, (words) => [
      ...["env", `NODE_OPTIONS=--require=${hide}`],
      ...words,
    ]);
    assert.match(readFileSync(served.path("mem/heap"), "utf8"), heap);
    assert.equal(readFileSync(served.path("late/async"), "utf8"), "async done\n");
    assert.match(shell(served, "timeout 20 cat $D/die-once").out, /^survived/);
    assert.equal(readFileSync(served.path("big")).length, 2 ** 20);
    assert.equal(readFileSync(served.path("native"), "utf8"), "false\n");
    served.child.kill("SIGTERM");
    assert.equal(await served.exited(), 0);
    assert.deepEqual(mountedUnder(served.directory), []);
  });

  test("as another user by fusermount3", { skip: helperMissing() }, async (t) => {
    const folder = temporaryFolder(t);
    spawnSync("chmod", ["777", folder]);
    // /dev/fuse is open to all on usual systems but not everywhere: in a mount namespace of its own it is.
    const device = join(folder, "device");
    const prepare = `mknod ${device} c 10 229 && chmod 666 ${device} && mount --bind ${device} /dev/fuse && exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"`;
    const served = await serve(t, { directory: join(folder, "mount") }, (words) => [
      ...["unshare", "--mount", "sh", "-c", prepare, "sh"],
      ...words,
    ]);
    const inside = (line: string) =>
      spawnSync("nsenter", ["-t", String(served.child.pid), "-m", "-S", "65534", "-G", "65534", "sh", "-c", line], {
        encoding: "utf8",
        env: { ...process.env, D: served.directory },
      });
    assert.match(inside("cat $D/mem/heap").stdout, heap, served.output);
    assert.equal(inside("cat $D/late/async").stdout, "async done\n");
    assert.match(inside("grep $D /proc/self/mounts").stdout, /fuse\.procscope ro,/);
    assert.notEqual(inside("echo x > $D/mem/heap").status, 0);
    // A file that stays open: the helper's unmount can only detach.
    const words = ["-t", String(served.child.pid), "-m", "-S", "65534", "-G", "65534"];
    const holder = spawn("nsenter", [...words, "sh", "-c", "exec 3< $D/mem/heap; echo open; exec sleep 60"], {
      env: { ...process.env, D: served.directory },
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.after(() => holder.kill("SIGKILL"));
    await once(holder.stdout, "data");
    served.child.kill("SIGTERM");
    assert.equal(await served.exited(), 0, served.output);
  });

  test("without /dev/fuse the message says what to do", async (t) => {
    const folder = temporaryFolder(t);
    const hidden = `mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9 && exec "$@"`;
    const served = launch(t, { directory: join(folder, "mount") }, (words) => [
      ...["unshare", "--mount", "sh", "-c", hidden, "sh"],
      ...words,
    ]);
    assert.equal(await served.exited(), 1);
    assert.match(served.output, /there is no FUSE here: \/dev\/fuse: ENOENT/);
    assert.match(served.output, /modprobe fuse/);
  });

  test("without the right to mount the message says what is missing", async (t) => {
    const folder = temporaryFolder(t);
    const served = launch(t, { directory: join(folder, "mount") }, (words) => [
      ...["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"],
      ...words,
    ]);
    assert.equal(await served.exited(), 1);
    assert.match(served.output, /CAP_SYS_ADMIN is missing/);
  });
});

function helperMissing(): string | false {
  if (spawnSync("fusermount3", ["-V"]).error) return "fusermount3 is not installed";
  return ffiAvailable().available ? false : "koffi is not installed";
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
}

function alive(pid: number): boolean {
  return readdirSync("/proc").includes(String(pid));
}
