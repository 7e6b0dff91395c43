import assert from "node:assert/strict";
import { test } from "node:test";
import type { CodePoint, CodeTable, StackEnd } from "../../src/go/code-table.ts";
import { StackTree } from "../../src/go/stack-tree.ts";

/** Code in which pc 0x1000 + 0x100 * n is in a function with a frame of 8 * n bytes. */
const points = new Map<string, CodePoint>();

function pointAt(pc: number, exact: boolean): CodePoint | undefined {
  if (pc < 0x1000 || pc >= 0x2000) return undefined;
  const number = (pc - 0x1000) >> 8;
  const end: StackEnd = number === 0 ? "top" : number === 14 ? "writes sp" : number === 15 ? "no frame" : "goes on";
  const key = `${pc} ${exact}`;
  const known = points.get(key);
  if (known) return known;
  const made = { pc, frameSize: 8 * number, end, injected: number === 13, exact } as CodePoint;
  points.set(key, made);
  return made;
}

const newTree = (): StackTree => new StackTree({ point: pointAt } as unknown as CodeTable);

/** A stack as words: frames of so many bytes, each with the return address behind it. */
function stackOf(...frames: readonly (readonly [bytes: number, returnTo: number])[]) {
  const words: number[] = [];
  for (const [bytes, returnTo] of frames) {
    for (let i = 0; i < bytes; i += 4) words.push(0xdeadbeef);
    words.push(returnTo, 0);
  }
  return { words: Uint32Array.from(words), at: 0, length: words.length * 4 };
}

test("a stack is followed to the function that ends it, and found again", () => {
  const tree = newTree();
  const stack = stackOf([8, 0x1210], [16, 0x1320], [24, 0x1001]);
  const node = tree.walk(stack, 0x1105, false);
  assert.equal(tree.brokenAt, 0);
  assert.deepEqual(
    tree.stack(node).map((point) => point.pc),
    [0x1105, 0x1210, 0x1320, 0x1001],
  );
  const size = tree.size;
  assert.equal(tree.walk(stack, 0x1105, false), node);
  assert.equal(tree.size, size, "nothing is added for a stack seen before");
});

test("two callers of one frame are two stacks", () => {
  const tree = newTree();
  const a = tree.walk(stackOf([8, 0x1001]), 0x1105, false);
  const b = tree.walk(stackOf([8, 0x1002]), 0x1105, false);
  const c = tree.walk(stackOf([8, 0x1003]), 0x1105, false);
  assert.equal(new Set([a, b, c]).size, 3);
  assert.equal(tree.walk(stackOf([8, 0x1002]), 0x1105, false), b);
});

test("a return address that is no code, and a stack that is too short, are told", () => {
  const tree = newTree();
  tree.walk(stackOf([8, 0x9999]), 0x1105, false);
  assert.equal(tree.brokenAt, 0x9999);
  tree.walk({ ...stackOf([8, 0x1210]), length: 8 }, 0x1105, false);
  assert.notEqual(tree.brokenAt, 0);
  assert.ok(tree.walk(stackOf([8, 0x1001]), 0x77, false) < 2);
  assert.equal(tree.brokenAt, 0x77);
});

test("code without frames ends a stack without a word", () => {
  const tree = newTree();
  const node = tree.walk(stackOf([8, 0x1f00]), 0x1105, false);
  assert.equal(tree.brokenAt, 0);
  assert.deepEqual(
    tree.stack(node).map((point) => point.pc),
    [0x1105],
  );
});

test("a function that writes SP ends a stack, but not where it entered a system call", () => {
  const tree = newTree();
  const stack = stackOf([8 * 14, 0x1001]);
  assert.equal(tree.stack(tree.walk(stack, 0x1e05, false)).length, 1);
  assert.equal(tree.stack(tree.walk(stack, 0x1e05, true)).length, 2);
});

test("the caller of an injected call stands at an instruction, not behind a call", () => {
  const tree = newTree();
  const node = tree.walk(stackOf([8 * 13, 0x1105], [8, 0x1001]), 0x1d05, false);
  assert.deepEqual(
    tree.stack(node).map((point) => point.exact),
    [false, true, false],
  );
});
