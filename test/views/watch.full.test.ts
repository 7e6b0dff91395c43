import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { parseDump } from "../../src/views/dump-parser.ts";
import { build, endChild, GoTarget } from "../support/go-target.ts";
import { procscope } from "./procscope.ts";

let folder: string;
let target: GoTarget;
const started: ChildProcess[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "procscope-watch-"));
  target = await GoTarget.start(await build(undefined, "plain", "leak"), { env: { HEALTHY: "20" } });
});
afterEach(async () => {
  for (const child of started.splice(0)) await endChild(child);
  await target.end();
  rmSync(folder, { recursive: true, force: true });
});

function watch(...words: string[]): ChildProcess & { text: () => string } {
  const child = spawn(
    process.execPath,
    [procscope.path, "watch", "--pid", String(target.pid), "-o", join(folder, "dumps"), ...words],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  started.push(child);
  let text = "";
  child.stdout!.setEncoding("utf8").on("data", (piece: string) => {
    text += piece;
  });
  child.stderr!.setEncoding("utf8").on("data", (piece: string) => {
    text += piece;
  });
  return Object.assign(child, { text: () => text });
}

const dumps = (): string[] => {
  try {
    return readdirSync(join(folder, "dumps")).sort();
  } catch {
    return [];
  }
};

async function until(what: string, condition: () => boolean, seconds = 15): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!condition()) {
    if (Date.now() > end) assert.fail(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function statusOf(child: ChildProcess): Promise<number | null> {
  const late = setTimeout(() => child.kill("SIGKILL"), 60_000);
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  clearTimeout(late);
  return child.exitCode;
}

/** Waits until watch has attached (it makes its folder then), and for so many milliseconds of looks more. */
async function looking(milliseconds: number): Promise<void> {
  await until("watch has attached", () => existsSync(join(folder, "dumps")));
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
}

test("--once: a dump at the moment there are too many, for its owner only, status 6", async () => {
  // So many that it holds only when all of them are there.
  const child = watch("--when", "goroutines>320", "--interval", "100ms", "--once");
  await looking(500);
  assert.deepEqual(dumps(), [], "the condition does not hold yet");
  await target.ask("leak 300");
  assert.equal(await statusOf(child), 6);
  const [file] = dumps();
  const path = join(folder, "dumps", file!);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(join(folder, "dumps")).mode & 0o777, 0o700);
  assert.ok(parseDump(readFileSync(path)).count >= 320);
  assert.match(child.text(), /3\d\d goroutines: wrote .*goroutines-\d+-.*\.txt/);
});

test("keeps so many dumps, keeps to the rate, ends with SIGTERM and status 0", async () => {
  const child = watch("--when", "goroutines>5", "--interval", "50ms", "--at-most-every", "300ms", "--keep", "2");
  await until("five dumps were told", () => (child.text().match(/wrote/g)?.length ?? 0) >= 5);
  assert.equal(dumps().length, 2);
  // Of the look, as the file's name has it: the line is told when the file is written.
  const times = [...child.text().matchAll(/-(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d)-(\d{3}Z)\.txt/g)].map(
    ([, day, hours, minutes, seconds, rest]) => Date.parse(`${day}T${hours}:${minutes}:${seconds}.${rest}`),
  );
  assert.ok(times.length >= 5);
  for (let i = 1; i < times.length; i++) assert.ok(times[i]! - times[i - 1]! >= 250, `${times[i]! - times[i - 1]!} ms`);
  child.kill("SIGTERM");
  assert.equal(await statusOf(child), 0);
});

test("growth a minute, and JSON", async () => {
  const child = watch("--when", "growth>60/min", "--interval", "500ms", "--once", "--json");
  await looking(1500);
  assert.deepEqual(dumps(), []);
  await target.ask("leak 50");
  assert.equal(await statusOf(child), 6);
  const record = JSON.parse(child.text());
  assert.equal(record.schema, "procscope/watch/1");
  assert.equal(record.conditions[0].condition, "growth>60/min");
  assert.match(record.conditions[0].what, /^50 more goroutines in /);
});

test("a long wait, known from a garbage collection on", async () => {
  await target.ask("gc");
  const child = watch("--when", "wait>1500ms", "--interval", "100ms", "--once");
  assert.equal(await statusOf(child), 6);
  assert.match(child.text(), /goroutine \d+ waits for [\d.]+s in .*: main\./);
});

test("tells the service manager through NOTIFY_SOCKET", async (context) => {
  const socket = join(folder, "notify");
  // Node has no datagram sockets of this domain: a few lines of another interpreter stand for the service manager.
  const manager = spawn(
    "python3",
    [
      "-c",
      "import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\ns.bind(sys.argv[1])\nprint('bound',flush=True)\n" +
        "while True: print(repr(s.recv(4096).decode()),flush=True)",
      socket,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  started.push(manager);
  let heard = "";
  manager.on("error", () => context.skip("no python3 to stand for a service manager"));
  manager.stdout!.setEncoding("utf8").on("data", (piece: string) => {
    heard += piece;
  });
  await until("the socket is bound", () => heard.includes("bound"));
  process.env["NOTIFY_SOCKET"] = socket;
  const child = watch("--when", "goroutines>100000", "--interval", "1h");
  delete process.env["NOTIFY_SOCKET"];
  await until("READY=1", () => heard.includes("READY=1"));
  child.kill("SIGTERM");
  assert.equal(await statusOf(child), 0);
  await until("STOPPING=1", () => heard.includes("STOPPING=1"));
});

test("ends with 4 when the target exits, with 2 for what is no condition", async () => {
  const child = watch("--when", "goroutines>100000", "--interval", "100ms");
  await looking(300);
  await target.end();
  assert.equal(await statusOf(child), 4, child.text());
  procscope(["watch", "--pid", "1", "--when", "goroutines>many"], 2);
  procscope(["watch", "--pid", "1"], 2);
});
