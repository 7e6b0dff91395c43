/**
 * Programs as their makers released them: every goroutine's full stack equals the trace that the program itself prints
 * when it gets SIGQUIT. That trace also shows what debug=2 hides (frames of the runtime, wrappers of the compiler, system
 * goroutines, frame and stack pointers), which is taken out of both before they are compared.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type Released, releasedFiles, releasedPrograms } from "../setup/released.ts";
import { procscope } from "../support/cli.ts";
import { endChild } from "../support/go-target.ts";
import { splitGoroutines } from "../support/goroutine-text.ts";

const folder = mkdtempSync(join(tmpdir(), "procscope-released-"));
const figures = { programs: 0, goroutines: 0, moving: 0 };

before(() => {
  for (const [name, text] of Object.entries(releasedFiles)) writeFileSync(join(folder, name), text);
});

for (const program of releasedPrograms()) {
  test(`${program.name} (go${program.go}): stacks as in its own SIGQUIT trace`, async (t) => {
    if (!existsSync(program.path) && !existsSync("/usr/bin/apt-get"))
      return t.skip("comes as a Debian package, and this is not Debian");
    assert.ok(existsSync(program.path), `setup did not fetch ${program.path}`);
    await checkProgram(program);
  });
}

/**
 * A server at work may move at any moment, and one that waits for its disk may look at rest while it starts: a difference
 * counts where three processes of it, each given more time than the last, all show one.
 */
async function checkProgram(program: Released): Promise<void> {
  let compared = await compareOnce(program, program.settle);
  for (const factor of [2, 4])
    if (compared.differences.length > 0) compared = await compareOnce(program, program.settle * factor);
  const { equal, moving, differences } = compared;
  assert.equal(
    differences.length,
    0,
    `${equal} equal, ${differences.length} not:\n${differences.slice(0, 2).join("\n\n")}`,
  );
  assert.ok(equal > 0, "nothing was equal");
  figures.programs++;
  figures.goroutines += equal;
  figures.moving += moving;
  console.log(`  ${program.name}: ${equal} goroutines equal`);
}

interface Compared {
  readonly equal: number;
  readonly moving: number;
  readonly differences: readonly string[];
}

async function compareOnce(program: Released, settle: number): Promise<Compared> {
  const child = spawn(program.path, program.args, { cwd: folder, stdio: ["pipe", "ignore", "pipe"] });
  child.stdin!.on("error", () => {});
  let errors = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  try {
    await delay(settle);
    assert.equal(child.exitCode, null, `it ended at once: ${errors.slice(0, 500)}`);
    let first = await dump(child);
    let second = await dump(child);
    // On a busy machine a server may still be starting.
    for (let tries = 0; tries < 10 && first !== second; tries++) {
      await delay(300);
      first = second;
      second = await dump(child);
    }
    assert.doesNotMatch(second, /unknown|\?\?\?/i);
    const mark = errors.length;
    child.kill("SIGQUIT");
    await once(child, "close");
    return compare(errors.slice(mark), first, second);
  } finally {
    await endChild(child);
  }
}

async function dump(child: ChildProcess): Promise<string> {
  const result = await procscope(["dump", "--pid", String(child.pid)]);
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

function compare(trace: string, first: string, second: string): Compared {
  const truth = normalized(trace);
  const ours = normalized(second);
  const earlier = normalized(first);
  assert.ok(truth.size > 0, `no trace: ${trace.slice(0, 500)}`);
  let equal = 0;
  let moving = 0;
  const differences: string[] = [];
  for (const [id, own] of truth) {
    if (own.frames.length === 0) continue; // the runtime's own: debug=2 does not show them
    const mine = ours.get(id);
    if (mine && same(own, mine)) equal++;
    // What moved between our two dumps has moved until the signal as well.
    else if (!mine || text(mine) !== text(earlier.get(id))) moving++;
    else differences.push(`its own\n${text(own)}\n--- ours\n${text(mine)}`);
  }
  for (const id of ours.keys()) if (!truth.has(id)) differences.push(`only ours: ${text(ours.get(id))}`);
  return { equal, moving, differences };
}

interface Stack {
  readonly header: string;
  /** Function and position, two lines each. */
  readonly frames: readonly string[];
  readonly creator: string;
}

const text = (stack: Stack | undefined): string =>
  stack === undefined ? "missing" : [stack.header, ...stack.frames, stack.creator].join("\n");

/** A wrapper that the compiler made for a go statement: it carries no file of its own that debug=2 would show. */
const wrapper = /(\.gowrap\d+|\.deferwrap\d+|-fm|·dwrap·\d+)\(/;

function normalized(trace: string): Map<number, Stack> {
  const stacks = new Map<number, Stack>();
  for (const goroutine of splitGoroutines(trace)) {
    if (goroutine.id === 0) continue;
    const lines = goroutine.text.split("\n");
    const header = lines[0]!
      .replace(/ gp=0x\w+/, "")
      .replace(/ m=(nil|\d+)/, "")
      .replace(/ mp=0x\w+/, "");
    const frames: string[] = [];
    let creator = "";
    for (let i = 1; i < lines.length; i++) {
      if (/^\.\.\.(additional|\d+) frames? elided/.test(lines[i]!)) {
        frames.push(lines[i]!);
        continue;
      }
      const frame = lines[i]!;
      const position = (lines[++i] ?? "").replace(/ fp=0x\w+ sp=0x\w+ pc=0x\w+$/, "");
      // Behind the goroutines follow the registers of the thread that got the signal.
      if (!position.startsWith("\t")) break;
      if (frame.startsWith("created by ")) creator = `${frame}\n${position}`;
      else if (!/^runtime\./.test(frame) && !position.includes("<autogenerated>") && !wrapper.test(frame))
        frames.push(frame, position);
    }
    stacks.set(goroutine.id, { header, frames, creator });
  }
  return stacks;
}

/** Before Go 1.22 a wrapper has the name of a closure: the outermost frame of the trace that ours does not show. */
function same(own: Stack, ours: Stack): boolean {
  if (text(own) === text(ours)) return true;
  const outermost = own.frames.at(-2) ?? "";
  const without = { ...own, frames: own.frames.slice(0, -2) };
  return (
    own.frames.length === ours.frames.length + 2 &&
    /\.func\d+(\.\d+)*\(/.test(outermost) &&
    text(without) === text(ours)
  );
}

after(() => {
  rmSync(folder, { recursive: true, force: true });
  console.log(
    `released: ${figures.goroutines} goroutines of ${figures.programs} programs equal, ${figures.moving} were moving`,
  );
});
