import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { parseDump } from "../../src/views/dump-parser.ts";
import { build, GoTarget } from "../support/go-target.ts";
import { TestTerminal } from "./terminal.ts";

let target: GoTarget;

before(async () => {
  target = await GoTarget.start(await build(undefined, "strip", "leak"), { env: { HEALTHY: "3000" } });
});
after(() => target.end());

/** Starts `top` on the target and waits for its first sample. */
async function open(terminal: TestTerminal): Promise<string> {
  terminal.run("top", "--pid", String(target.pid), "--interval", "500ms");
  return terminal.until(/healthyReceiver/);
}

const rowOf = (screen: string, word: string): string =>
  screen.split("\n").find((line) => line.includes(word)) ?? assert.fail(`${word} is not on the screen:\n${screen}`);

test("the first screen: head, columns, groups largest first", async () => {
  using terminal = new TestTerminal();
  const screen = await open(terminal);
  const lines = screen.split("\n");
  assert.match(lines[0]!, new RegExp(`^procscope top: ${target.pid} leak.*, go 1\\.\\d+\\.\\d+, up .*, every 500ms`));
  assert.match(lines[1]!, /^CPU .*RSS [\d.]+MiB {2}threads \d+ {2}Ps \d+ of \d+ busy {2}heap .*GC /);
  assert.match(lines[2]!, /^Goroutines 30\d\d: \d+ running, \d+ runnable, \d+ syscall, \d+ waiting/);
  assert.match(lines[4]!, /COUNT +CHANGE +RUN +READY +SYSC +WAIT +REASON +LONGEST +FUNCTION/);
  const counts = lines
    .slice(5)
    .flatMap((line) => /^ *(\d+) /.exec(line)?.[1] ?? [])
    .map(Number);
  assert.deepEqual(
    counts,
    [...counts].sort((a, b) => b - a),
  );
  assert.match(rowOf(screen, "healthySleeper"), /^ +1000 .* 1000 sleep .*main\.healthySleeper \(.*main\.go:\d+\)$/);
});

test("g, S, m, /, suspend, interval, refresh", async () => {
  using terminal = new TestTerminal();
  await open(terminal);
  terminal.type("m");
  await terminal.until(/MARK/);
  await target.ask("leak 5");
  const marked = await terminal.until((screen) => / \+5 +\+5 .*chan receive/.test(screen));
  assert.match(rowOf(marked, "handleRequest"), /\+5 +\+5 .*chan receive/);
  terminal.type("S");
  const sorted = await terminal.until(/sorted by change/);
  assert.match(sorted.split("\n")[5]!, /handleRequest/);
  for (const [words, row] of [
    [/CURRENT FUNCTION/, /time\.Sleep/],
    [/CREATED BY/, /main\.startHealthy \(.*main\.go:\d+\)/],
    [/WAIT REASON/, /chan receive/],
  ] as const) {
    terminal.type("g");
    await terminal.until((screen) => words.test(screen) && row.test(screen));
  }
  const total = (screen: string): number => Number(/Goroutines (\d+):/.exec(screen)?.[1]);
  const unnamed = total(terminal.screen());
  await target.ask("names");
  await terminal.until((screen) => total(screen) >= unnamed + 3);
  terminal.type("r");
  terminal.type("g");
  await terminal.until((screen) => /LABEL name/.test(screen) && /no label name/.test(screen));
  terminal.type("g");
  const resources = await terminal.until((screen) => /WAITS FOR/.test(screen) && /chan int at 0x/.test(screen));
  assert.match(resources, /100\d chan receive .*chan int at 0x[0-9a-f]+, 8 bytes each, unbuffered/);
  terminal.type("g/");
  terminal.type("sleeper");
  const filtered = await terminal.until((screen) => /healthySleeper/.test(screen) && !/healthyReceiver/.test(screen));
  assert.match(filtered, /filter "sleeper"/);
  terminal.press("Escape");
  await terminal.until(/healthyReceiver/);
  terminal.type(" ");
  await terminal.until(/SUSPENDED/);
  const before = rowOf(terminal.screen(), "handleRequest");
  await target.ask("leak 3");
  await new Promise((resolve) => setTimeout(resolve, 1200));
  assert.equal(rowOf(terminal.screen(), "handleRequest"), before);
  terminal.type("s");
  await terminal.until((screen) => !/SUSPENDED/.test(screen) && rowOf(screen, "handleRequest") !== before);
  terminal.type("+");
  await terminal.until(/every 1s/);
  terminal.type("--");
  await terminal.until(/every 250ms/);
});

test("Enter opens a group, then a stack with what it waits for; Escape goes back; help; a dump", async () => {
  using terminal = new TestTerminal();
  await open(terminal);
  terminal.press("Enter");
  const list = await terminal.until(/goroutines of main\.healthy/);
  assert.match(list, /ID STATE +REASON +WAITED/);
  terminal.press("Down", "Down", "Enter");
  const stack = await terminal.until(/created by main\.startHealthy in goroutine 1/);
  assert.match(stack, /goroutine \d+ \[(chan receive|select|sleep)/);
  terminal.press("Escape");
  await terminal.until(/ID STATE/);
  terminal.press("Escape");
  await terminal.until(/FUNCTION$/m);
  terminal.type("/receiver");
  terminal.press("Enter", "Enter");
  await terminal.until(/goroutines of main\.healthyReceiver/);
  terminal.press("Enter");
  const waits = await terminal.until(/waits for chan int at 0x/);
  assert.match(
    waits,
    /(?:1999|200\d) others wait for it:\n( +goroutine \d+ \[(chan receive|select)\] main\.healthy\w+\n){5}/,
  );
  terminal.type("h");
  await terminal.until(/next grouping/);
  terminal.type("q");
  terminal.type("d");
  await terminal.until(/wrote .*\.txt/);
  const file = readdirSync(terminal.folder).find((name) => name.endsWith(".txt"))!;
  assert.equal(statSync(join(terminal.folder, file)).mode & 0o777, 0o600);
  assert.ok(parseDump(readFileSync(join(terminal.folder, file))).count >= 3000);
});

test("arrows, pages, the wheel; tiny and huge terminals; resizing", async () => {
  using terminal = new TestTerminal(100, 12);
  await open(terminal);
  terminal.press("Enter");
  const first = await terminal.until(/ID STATE/);
  const ids = (screen: string): number[] => [...screen.matchAll(/^ +(\d+) \w+/gm)].map((match) => Number(match[1]));
  terminal.press("PageDown", "PageDown");
  const paged = await terminal.until((screen) => ids(screen)[0]! > ids(first)[0]!);
  terminal.type("\x1b[<65;5;5M");
  const wheeled = await terminal.until((screen) => ids(screen)[0]! > ids(paged)[0]!);
  terminal.press("Home");
  await terminal.until((screen) => ids(screen)[0] === ids(first)[0]);
  assert.ok(ids(wheeled).length > 3);
  terminal.press("Escape");
  for (const [width, height] of [
    [20, 4],
    [1, 1],
    [10, 2],
    [400, 120],
    [80, 24],
  ] as const) {
    terminal.resize(width, height);
    await new Promise((resolve) => setTimeout(resolve, 700));
    if (width >= 80) await terminal.until(/healthyReceiver/);
    const lines = terminal.screen().split("\n").slice(0, -1);
    assert.ok(lines.length <= height, `${lines.length} rows at ${width}x${height}`);
    for (const line of lines) assert.ok([...line].length <= width, line);
    if (width >= 80) assert.match(lines.join("\n"), /healthyReceiver/);
  }
});

test("wide characters and emoji stand in their columns; what names hold cannot drive the terminal", async () => {
  await target.ask("names");
  using terminal = new TestTerminal();
  terminal.run("top", "--pid", String(target.pid), "--interval", "500ms", "--group", "label:name");
  const screen = await terminal.until(/漢字テスト/);
  assert.match(screen, /emoji 🚀🔥/);
  assert.match(screen, /esc \\x1b\[31mred\\x07/);
  terminal.type("gg/처리");
  const row = rowOf(await terminal.until(/main\.처리하다/), "처리하다");
  assert.match(row, /^ +\d+ /);
  // Cut in the middle of wide characters: never a half one, never a row that wraps.
  for (let width = 40; width < 60; width++) {
    terminal.resize(width, 20);
    await terminal.until(/main\.처/, 5).catch(() => "");
    for (const line of terminal.screen().split("\n")) assert.doesNotMatch(line, /\ufffd/);
  }
});

test("all processes: Enter goes into one, q comes back", async () => {
  using terminal = new TestTerminal();
  terminal.run("top");
  const list = await terminal.until((screen) => screen.includes(` ${target.pid} `));
  assert.match(list, /PID GOROUTINES +CHANGE +CPU% +RSS +HEAP +UP GO +NAME/);
  assert.match(rowOf(list, ` ${target.pid} `), / 30\d\d .*MiB/);
  let lines = terminal.screen().split("\n");
  // The selection begins at the first row; others' Go processes may stand above ours.
  const steps = lines.findIndex((line) => line.includes(` ${target.pid} `)) - 2;
  for (let i = 0; i < steps; i++) terminal.press("Down");
  terminal.press("Enter");
  await terminal.until(
    (screen) => screen.startsWith(`procscope top: ${target.pid} `) && /healthyReceiver/.test(screen),
  );
  terminal.type("q");
  lines = (await terminal.until(/Go processes/)).split("\n");
  terminal.type("q");
  await terminal.until(/ready>$/m);
});
