/** The protocol itself, message by message, without a kernel. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FixedTree } from "../../src/kernel/fuse-fixed-tree.ts";
import { inHeader, opcode, requestBytes } from "../../src/kernel/fuse-protocol.ts";
import { FuseSession } from "../../src/kernel/fuse-session.ts";

const generation = 77;

function newSession() {
  const tree = new FixedTree();
  const file = tree.file("mem/heap", () => "1 2 3\n");
  const answers: Buffer[] = [];
  const session = new FuseSession({
    tree,
    reply: (head, length, data) => {
      answers.push(Buffer.concat([head.subarray(0, length), ...(data ? [data] : [])]));
    },
    log: () => {},
    fileLimit: 1000,
    totalLimit: 10_000,
    generation,
    interruptible: false,
  });
  const bytes = Buffer.from(new ArrayBuffer(requestBytes));
  const words = new Uint32Array(bytes.buffer);
  const ask = (op: number, node: number, body: readonly number[] = [], uniqueHigh = 0): Buffer => {
    words.fill(0, 0, 64);
    words.set([inHeader.bytes + body.length * 4, op, 9, uniqueHigh, node], 0);
    words.set(body, inHeader.words);
    session.handle(bytes, words, inHeader.bytes + body.length * 4);
    return answers.pop() ?? Buffer.alloc(0);
  };
  return { session, file, ask };
}

test("INIT: the kernel's version, one page of writes, resend where the kernel has it", () => {
  const { ask } = newSession();
  const hasInitExt = 1 << 30;
  const answer = ask(opcode.init, 0, [7, 45, 131072, hasInitExt | 0xffff, 1 << 7]);
  assert.equal(answer.length, 16 + 64);
  assert.equal(answer.readUInt32LE(16), 7);
  assert.equal(answer.readUInt32LE(20), 40);
  // A larger max_write would make the kernel refuse our 64 KiB reads of requests with EINVAL.
  const maxWrite = answer.readUInt32LE(36);
  assert.ok(Math.max(8192, maxWrite + 80) <= requestBytes);
  assert.equal(answer.readUInt32LE(48), 1 << 7);
  assert.equal(ask(opcode.init, 0, [7, 22, 0, 0]).length, 16 + 24);
  assert.equal(ask(opcode.init, 0, [6, 0, 0, 0]).readInt32LE(4), -71);
});

test("a request that is sent again is answered with its mark", () => {
  const { ask } = newSession();
  const answer = ask(opcode.getattr, 1, [0, 0, 0, 0], 0x80000001);
  assert.equal(answer.readUInt32LE(8), 9);
  assert.equal(answer.readUInt32LE(12), 0x80000001);
});

test("10,000 opens, reads and releases leave nothing", () => {
  const { session, file, ask } = newSession();
  for (let i = 0; i < 10_000; i++) {
    const open = ask(opcode.open, file.id, [0, 0]);
    const handle = [open.readUInt32LE(16), open.readUInt32LE(20)];
    assert.equal(ask(opcode.read, file.id, [...handle, 0, 0, 4096, 0]).toString("utf8", 16), "1 2 3\n");
    assert.equal(ask(opcode.read, file.id, [...handle, 6, 0, 4096, 0]).length, 16);
    if (i === 0) assert.deepEqual(session.held, { files: 1, bytes: 6, waiting: 0 });
    ask(opcode.release, file.id, [...handle, 0, 0]);
  }
  assert.deepEqual(session.held, { files: 0, bytes: 0, waiting: 0 });
});

test("a handle of another server goes on at offset 0 only", () => {
  const { file, ask } = newSession();
  const foreign = [5, generation - 1];
  assert.equal(ask(opcode.read, file.id, [...foreign, 3, 0, 4096, 0]).readInt32LE(4), -116);
  assert.equal(ask(opcode.read, file.id, [...foreign, 0, 0, 4096, 0]).toString("utf8", 16), "1 2 3\n");
  assert.equal(ask(opcode.read, file.id, [...foreign, 3, 0, 4096, 0]).toString("utf8", 16), " 3\n");
});

test("numbers that no node has, and opcodes that nobody knows, are refused", () => {
  const { ask } = newSession();
  assert.equal(ask(opcode.getattr, 4711).readInt32LE(4), -116);
  assert.equal(ask(opcode.getattr, 0).readInt32LE(4), -116);
  assert.equal(ask(4242, 1).readInt32LE(4), -38);
  assert.equal(ask(opcode.write, 1).readInt32LE(4), -30);
});

test("a folder is listed in pieces that fit, each entry once", () => {
  const tree = new FixedTree();
  for (let i = 0; i < 300; i++) tree.file(`name-${i}`, () => "");
  const seen: string[] = [];
  let answer = Buffer.alloc(0);
  const session = new FuseSession({
    tree,
    reply: (head, length) => {
      answer = Buffer.from(head.subarray(0, length));
    },
    log: () => {},
    fileLimit: 1,
    totalLimit: 1,
    generation,
    interruptible: false,
  });
  const bytes = Buffer.from(new ArrayBuffer(requestBytes));
  const words = new Uint32Array(bytes.buffer);
  for (let offset = 0; ; ) {
    words.set([0, opcode.readdir, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, offset, 0, 1000]);
    session.handle(bytes, words, 80);
    assert.ok(answer.length <= 16 + 1000);
    if (answer.length === 16) break;
    for (let at = 16; at < answer.length; ) {
      const length = answer.readUInt32LE(at + 16);
      seen.push(answer.toString("utf8", at + 24, at + 24 + length));
      offset = answer.readUInt32LE(at + 8);
      at += (24 + length + 7) & ~7;
    }
  }
  assert.equal(seen.length, 302);
  assert.equal(new Set(seen).size, 302);
});
