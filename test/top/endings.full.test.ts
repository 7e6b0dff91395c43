import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { cliPath } from "../support/cli.ts";
import { build, GoTarget } from "../support/go-target.ts";
import { TestTerminal } from "./terminal.ts";

let path: string;
let target: GoTarget;

before(async () => {
  path = await build(undefined, "strip", "leak");
  target = await GoTarget.start(path, { env: { HEALTHY: "50" } });
});
after(() => target.end());

const normal = { alternate: false, cursor: true, mouse: false };

/** Runs top, ends it as `end` does, and looks at what the terminal is left like. */
async function ended(end: (terminal: TestTerminal) => void | Promise<void>, ...words: string[]): Promise<string> {
  using terminal = new TestTerminal();
  terminal.type("echo before; ");
  terminal.run("top", "--interval", "200ms", ...words, "; echo status $?");
  await terminal.until(/healthyReceiver/);
  assert.deepEqual(terminal.modes(), { alternate: true, cursor: false, mouse: true });
  await end(terminal);
  const screen = await terminal.until(/status \d+\n+ready>$/m);
  assert.deepEqual(terminal.modes(), normal);
  assert.match(screen, /before$/m, "what stood there before is there again");
  // Echo and line editing work again.
  terminal.type("echo typed");
  await terminal.until(/ready> echo typed/);
  return screen;
}

const own = (): string[] => ["--pid", String(target.pid)];

test("q: status 0", async () => {
  assert.match(await ended((terminal) => terminal.type("q"), ...own()), /status 0/);
});

test("Ctrl-C: status 0, as it is a key here", async () => {
  assert.match(await ended((terminal) => terminal.press("C-c"), ...own()), /status 0/);
});

test("SIGTERM and SIGINT: status 130", async () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    assert.match(await ended((terminal) => void process.kill(terminal.childPid(), signal), ...own()), /status 130/);
  }
});

test("--count: ends by itself", async () => {
  assert.match(await ended(() => {}, ...own(), "--count", "25"), /status 0/);
});

test("the target's exit: status 4 and a sentence", async () => {
  const victim = await GoTarget.start(path, { env: { HEALTHY: "50" } });
  try {
    const screen = await ended(() => victim.end(), "--pid", String(victim.pid));
    assert.match(screen, /procscope: no process \d+|procscope: .*exited/);
    assert.match(screen, /status 4/);
  } finally {
    await victim.end();
  }
});

test("an uncaught error: the terminal is back before the error is told", async () => {
  const thrower = "data:text/javascript,process.on('SIGUSR2',()=>{throw(new(Error)('planted'))})";
  using terminal = new TestTerminal();
  terminal.type(`NODE_OPTIONS="--import \\"${thrower}\\"" `);
  terminal.run("top", ...own(), "; echo status $?");
  await terminal.until(/healthyReceiver/);
  process.kill(terminal.childPid(), "SIGUSR2");
  const screen = await terminal.until(/status \d+/);
  assert.deepEqual(terminal.modes(), normal);
  assert.match(screen, /planted/);
});

test("a hang-up: of that signal, as any program", async () => {
  const terminal = new TestTerminal();
  const report = join(terminal.folder, "..", `procscope-hangup-${process.pid}`);
  try {
    // A shell that outlives its terminal tells how top ended.
    terminal.type("sh -c 'trap : HUP; ");
    terminal.run("top", ...own(), `; echo $? > ${report}.part; mv ${report}.part ${report}'`);
    await terminal.until(/healthyReceiver/);
    terminal[Symbol.dispose]();
    for (let i = 0; i < 1000 && !existsSync(report); i++) await delay(20);
    assert.equal(readFileSync(report, "latin1"), "129\n");
  } finally {
    terminal[Symbol.dispose]();
    rmSync(report, { force: true });
  }
});

test("Ctrl-Z gives the terminal to the shell, fg brings the screen back", async () => {
  using terminal = new TestTerminal();
  terminal.run("top", ...own(), "--interval", "200ms");
  await terminal.until(/healthyReceiver/);
  terminal.press("C-z");
  await terminal.until(/ready>$/m);
  assert.deepEqual(terminal.modes(), normal);
  terminal.type("fg");
  terminal.press("Enter");
  await terminal.until(/healthyReceiver/);
  assert.deepEqual(terminal.modes(), { alternate: true, cursor: false, mouse: true });
});

test("top -- CMD: starts the program, and ends it with the view", async () => {
  using terminal = new TestTerminal();
  terminal.type("HEALTHY=50 STAY=1 ");
  terminal.run("top", "--interval", "200ms", "--", path, "; echo status $?");
  const screen = await terminal.until(/healthyReceiver/);
  const pid = Number(/^procscope top: (\d+) /.exec(screen)![1]);
  process.kill(pid, 0);
  terminal.type("q");
  await terminal.until(/status \d+/);
  assert.throws(() => process.kill(pid, 0));
});

test("without a terminal: one record a look, changes counted from the first", async () => {
  const child = spawn(process.execPath, [cliPath, "top", ...own(), "--interval", "1s", "--count", "3"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (piece: string) => {
    if (text === "") void target.ask("leak 4");
    text += piece;
  });
  const [status] = await once(child, "close");
  assert.equal(status, 0);
  const records = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  assert.equal(records.length, 3);
  for (const record of records) {
    assert.equal(record.schema, "procscope/top/1");
    assert.equal(record.pid, target.pid);
    const { total, ...states } = record.goroutines;
    assert.equal(
      Object.values<number>(states).reduce((sum, count) => sum + count, 0),
      total,
    );
  }
  const leaking = records[2].groups.find((group: { function: string }) => group.function === "main.handleRequest");
  assert.equal(leaking.change, 4);
  assert.ok(leaking.count >= 4);
});

test("a closed pipe ends it quietly; refused words; no such process", () => {
  const piped = spawnSync(
    "sh",
    ["-c", `${process.execPath} ${cliPath} top --pid ${target.pid} --interval 100ms | head -1`],
    {
      encoding: "utf8",
      timeout: 20_000,
    },
  );
  assert.equal(piped.stdout.trim().split("\n").length, 1);
  assert.equal(piped.stderr, "");
  const run = (...words: string[]) => spawnSync(process.execPath, [cliPath, "top", ...words], { encoding: "utf8" });
  assert.equal(run("--pid", "4194999").status, 4);
  assert.equal(run("--pid", String(target.pid), "--interval", "1ms").status, 2);
  assert.equal(run("--pid", String(process.pid), "--json", "--count", "1").status, 5);
});
