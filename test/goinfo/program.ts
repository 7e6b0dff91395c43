/** A Node program that uses procscope/goinfo, driven by lines on its standard input. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { Worker } from "node:worker_threads";
import { addSource, start, stop, stopAll } from "../../src/goinfo/index.ts";

const [place = "~/tree"] = process.argv.slice(2);
const say = (text: string): void => void writeSync(1, `${text}\n`);

function spinForTheTest(milliseconds: number): void {
  const end = Date.now() + milliseconds;
  let garbage: object[] = [];
  while (Date.now() < end) garbage = garbage.length > 1000 ? [] : [...garbage, {}];
}

/** Milliseconds and the outcome of a read by this very thread. */
function readOwn(path: string): string {
  const begin = performance.now();
  let outcome: string;
  try {
    outcome = readFileSync(path, "utf8").trim();
  } catch (error) {
    outcome = (error as NodeJS.ErrnoException).code ?? String(error);
  }
  return JSON.stringify({ milliseconds: performance.now() - begin, outcome });
}

const commands: Record<string, (argument: string) => unknown> = {
  spin: (milliseconds) => spinForTheTest(Number(milliseconds)),
  wait: (milliseconds) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(milliseconds)),
  sleep: (seconds) => execFileSync("sleep", [seconds]),
  read: (path) => say(`own ${readOwn(path)}`),
  again: () => start(place, {}),
  other: (path) => start(path),
  stop: (path) => stop(path || place),
  stopAll: () => stopAll(),
  worker: () => {
    const code =
      "function inTheWorker() { for (const end = Date.now() + 1500; Date.now() < end; ); } setInterval(inTheWorker, 1)";
    return new Promise((resolve) => {
      const worker = new Worker(code, { eval: true, name: "of the test" });
      worker.unref();
      worker.once("online", () => resolve(undefined));
    });
  },
  delay: async (milliseconds) => {
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    await new Promise((resolve) => setTimeout(resolve, Number(milliseconds)));
    say(`delay ${JSON.stringify({ p90: delay.percentile(90) / 1e6 })}`);
  },
  bad: (name) => {
    try {
      addSource({ name, listing: () => [], contents: () => undefined });
      say("bad accepted");
    } catch (error) {
      say(`bad ${(error as { code?: string }).code}`);
    }
  },
  exit: (status) => process.exit(Number(status)),
  throw: () => {
    throw new Error("thrown on purpose");
  },
};

let reads = 0;
addSource({
  name: "early",
  listing: () => ["count", "bytes", "throws", "nothing"],
  contents: (file) => {
    if (file === "throws") throw new Error("a source that throws");
    if (file === "nothing") return undefined;
    return file === "bytes" ? new Uint8Array([1, 2, 3]) : `${++reads}\n`;
  },
});
await start(place, { timeout: 700, log: (message) => say(`log ${message}`) });
addSource({
  name: "late",
  listing: async () => ["async", "../bad", `now-${process.uptime().toFixed(0)}`],
  contents: async (file) => `${file} ${await new Promise((resolve) => setTimeout(resolve, 5, "later"))}\n`,
  metadata: async () => ({ size: 12, mtime: new Date(86_400_000) }),
});
say(`ready ${join(process.env["HOME"] ?? "", "tree")}`);

// Reading lines keeps the program alive; it ends by itself when its standard input does.
for await (const line of createInterface({ input: process.stdin })) {
  const [word = "", ...rest] = line.split(" ");
  say(`begin ${word}`);
  await commands[word]?.(rest.join(" "));
  say(`done ${word}`);
}
say("end of input");
