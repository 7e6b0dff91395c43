/** The tree over processes that come, go, change their program and their user; what is read in them is beside the point. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { describe, test } from "node:test";
import { GoProcessEntry } from "../../src/goinfo/go-processes.ts";
import { GoTree } from "../../src/goinfo/go-tree.ts";
import type { GoView } from "../../src/goinfo/go-view.ts";
import { opcode } from "../../src/kernel/fuse-protocol.ts";
import type { FuseFile, FuseFolder, FuseNode } from "../../src/kernel/fuse-tree.ts";
import { eventually } from "../fuse/fixture.ts";

interface Opened {
  readonly pid: number;
  closed: boolean;
}

/** A view that only counts. */
function counting() {
  const opened: Opened[] = [];
  let reads = 0;
  const open = (pid: number): GoView => {
    const record: Opened = { pid, closed: false };
    opened.push(record);
    return {
      memStats: () => ({ Alloc: ++reads }),
      stacktrace: () => [`stack of ${pid}\n`],
      goroutines: () => [],
      summary: () => "",
      waitReasons: () => "",
      info: () => `pid ${pid}\n`,
      close: () => {
        record.closed = true;
      },
    };
  };
  return { opened, open };
}

async function start(t: { after(done: () => unknown): void }, line = "read; true"): Promise<ChildProcess> {
  const child = spawn("bash", ["-c", `echo; ${line}`], { stdio: ["pipe", "pipe", "ignore"] });
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout!, "data");
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

function treeOf(child: ChildProcess, open: (pid: number) => GoView, ttl = 0): GoTree {
  const entry = new GoProcessEntry(child.pid!, open);
  const { identity, uid, gid } = entry;
  entry.close();
  return new GoTree({ target: { identity, uid, gid }, mode: 0o400, ttl }, { open, list: () => [], isGo: () => true });
}

function at(tree: GoTree, path: string): FuseNode | undefined {
  let node: FuseNode | undefined = tree.node(1);
  for (const word of path.split("/").filter(Boolean)) {
    node = (node as FuseFolder).lookup(word) as FuseNode | undefined;
    if (node === undefined) return undefined;
  }
  return node;
}

const read = (node: FuseNode | undefined): unknown => (node as FuseFile).contents(AbortSignal.abort());

describe("the tree of one process", () => {
  test("has goinfo's names, the owner's rights, and numbers that both threads agree on", async (t) => {
    const child = await start(t);
    const [front, back] = [treeOf(child, counting().open), treeOf(child, counting().open)];
    const names = (path: string): string[] =>
      ((at(front, path) as FuseFolder).list() as [string, FuseNode][]).map(([name]) => name).sort();
    assert.deepEqual(names(""), ["info", "mem", "st"]);
    assert.deepEqual(names("mem"), ["all.json", "buckethash", "gc", "genmem", "heap", "mcache", "mspan", "stack"]);
    assert.deepEqual(names("st"), ["goroutines.json", "stacktrace", "summary", "wait-reasons"]);
    const { uid, gid } = statSync(`/proc/${child.pid}`);
    for (const path of ["", "mem", "mem/heap", "st/stacktrace"]) {
      const node = at(front, path)!;
      assert.deepEqual([node.uid, node.gid, node.mode & 0o777], [uid, gid, node.kind === "file" ? 0o400 : 0o500]);
      assert.equal(back.node(node.id)?.kind, node.kind, path);
    }
    assert.equal(at(front, "mem/nope"), undefined);
  });

  test("hands on reads of long files, and nothing else", async (t) => {
    const child = await start(t);
    const tree = treeOf(child, counting().open);
    for (const [path, heavy] of [
      ["mem/heap", false],
      ["info", false],
      ["st/stacktrace", true],
      ["st/goroutines.json", true],
    ] as const) {
      const { id } = at(tree, path)!;
      assert.equal(tree.elsewhere(opcode.read, id), heavy, path);
      assert.equal(tree.elsewhere(opcode.release, id), heavy, path);
      assert.equal(tree.elsewhere(opcode.open, id), false, path);
    }
    assert.equal(tree.elsewhere(opcode.read, 1), false);
  });

  test("looks into the process at the first read only, and again after an execve", async (t) => {
    const child = await start(t, "read; exec sleep 60");
    const { opened, open } = counting();
    const tree = treeOf(child, open);
    const heap = at(tree, "mem/genmem");
    assert.equal(opened.length, 0);
    assert.equal(read(heap), "1 - - - - -\n");
    assert.equal(read(heap), "2 - - - - -\n");
    assert.equal(opened.length, 1);
    child.stdin!.write("\n");
    await eventually(() => {
      read(heap);
      return opened.length === 2 && opened[0]!.closed;
    }, "a second look");
  });

  test("with a ttl keeps what was read", async (t) => {
    const child = await start(t);
    const genmem = at(treeOf(child, counting().open, 60), "mem/genmem");
    assert.equal(String(read(genmem)), "1 - - - - -\n");
    assert.equal(String(read(genmem)), "1 - - - - -\n");
  });

  test("after the end names are gone, and so is what was open, also for who has the pid next", async (t) => {
    const child = await start(t);
    const { opened, open } = counting();
    const tree = treeOf(child, open);
    const heap = at(tree, "mem/heap")!;
    read(heap);
    await end(child);
    const gone = { code: "NO_PROCESS" };
    assert.throws(() => read(heap), gone);
    assert.throws(() => (heap as FuseFile).open?.(), gone);
    assert.throws(() => tree.node(heap.id), gone);
    assert.equal(at(tree, "mem"), undefined);
    assert.deepEqual((tree.node(1) as FuseFolder).list(), []);
    // Another process with another start has another number: the same pid would not be taken for the old one.
    const next = await start(t);
    const other = new GoProcessEntry(next.pid!, open);
    t.after(() => other.close());
    assert.notEqual(Math.floor(heap.id / 256), other.identity);
    assert.ok(opened.every(({ closed, pid }) => closed || pid === next.pid));
  });
});

describe("the tree of all processes", () => {
  test("names a process after the program that it runs now", async (t) => {
    const child = await start(t, "read; exec sleep 60");
    const pid = child.pid!;
    const { open } = counting();
    const tree = new GoTree({ mode: 0o444, ttl: 0 }, { open, list: () => [pid], isGo: () => true });
    assert.ok(at(tree, `${pid}-bash`));
    child.stdin!.write("\n");
    await eventually(() => at(tree, `${pid}-sleep`), "the new name");
    assert.equal(at(tree, `${pid}-bash`), undefined);
  });

  test("shows those that are listed, lets them vanish, and enters them only when read", async (t) => {
    const children = [await start(t), await start(t)];
    const { opened, open } = counting();
    const pids = (): number[] => children.filter(({ signalCode }) => signalCode === null).map(({ pid }) => pid!);
    const tree = new GoTree(
      { mode: 0o444, ttl: 0 },
      { open, list: pids, isGo: (pid) => children.some((child) => child.pid === pid) },
    );
    const names = (): string[] => ((tree.node(1) as FuseFolder).list() as [string, FuseNode][]).map(([name]) => name);
    assert.deepEqual(
      names(),
      children.map(({ pid }) => `${pid}-bash`),
    );
    assert.equal(at(tree, `${children[0]!.pid}-bash`)!.mode & 0o777, 0o555);
    assert.equal(at(tree, `${children[0]!.pid}-wrong`), undefined);
    assert.equal(at(tree, `${process.pid}-node`), undefined);
    assert.equal(at(tree, "0-bash"), undefined);
    assert.equal(opened.length, 0);
    read(at(tree, `${children[1]!.pid}-bash/mem/heap`));
    assert.deepEqual(opened, [{ pid: children[1]!.pid, closed: false }]);
    await end(children[1]!);
    assert.deepEqual(names(), [`${children[0]!.pid}-bash`]);
    assert.equal(opened[0]!.closed, true);
    assert.throws(() => at(tree, `${children[1]!.pid}-bash`), { code: "NO_PROCESS" });
  });
});
