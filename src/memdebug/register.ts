/**
 * memdebug without a change to the program: `node --import procscope/memdebug/register app.js`. What it does is said by
 * environment variables; `%p` in a path is the process id.
 *
 *     PROCSCOPE_CPU=cpu.pdf           profile the CPU; written at exit, the extension says the format
 *     PROCSCOPE_HEAP=heap.html        sample the heap, likewise
 *     PROCSCOPE_DUMP_SIGNAL=SIGUSR2   at this signal write cpu-001.pdf, heap-001.html … and go on
 *     PROCSCOPE_WATCH=100MiB          say on standard error when memory has grown by this much
 *     PROCSCOPE_WATCH_SNAPSHOT=DIR    and write a heap snapshot to DIR, where that cannot do harm
 *     PROCSCOPE_EXIT_LINE=1           print the line of memdebug.print() at exit
 */
import { basename, dirname } from "node:path";
import { isMainThread } from "node:worker_threads";
import { ProcscopeError } from "../base/errors.ts";
import { dumpProfile, profile } from "./cpu.ts";
import { dumpHeapProfile, heapProfile } from "./heap.ts";
import { tell } from "./output.ts";
import { print } from "./print.ts";
import type { RecordingOptions } from "./recording.ts";
import { watch } from "./watch.ts";

const { env } = process;

/** `out/cpu-%p.pb.gz` as directory, name and format. */
function destination(path: string): RecordingOptions {
  const file = basename(path).replaceAll("%p", String(process.pid));
  const dot = file.indexOf(".");
  if (dot <= 0) throw new ProcscopeError("USAGE", `no extension in ${path}`, { hint: "write cpu.pdf or cpu.pb.gz" });
  return { dir: dirname(path), name: file.slice(0, dot), format: file.slice(dot + 1) };
}

function bytesOf(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt])?(i?b)?$/i.exec(text.trim());
  if (!match) throw new ProcscopeError("USAGE", `not a size: ${text}`, { hint: "write 100MiB or 1GiB" });
  return Number(match[1]) * 1024 ** " kmgt".indexOf((match[2] ?? " ").toLowerCase());
}

function register(): void {
  const dumps: (() => Promise<string>)[] = [];
  if (env["PROCSCOPE_CPU"]) {
    profile(destination(env["PROCSCOPE_CPU"]));
    dumps.push(dumpProfile);
  }
  if (env["PROCSCOPE_HEAP"]) {
    heapProfile(destination(env["PROCSCOPE_HEAP"]));
    dumps.push(dumpHeapProfile);
  }
  const signal = env["PROCSCOPE_DUMP_SIGNAL"];
  if (signal && isMainThread) {
    process.on(signal, () => {
      for (const dump of dumps)
        dump().then(
          (path) => tell(`wrote ${path}`),
          () => {},
        );
    });
  }
  if (env["PROCSCOPE_WATCH"]) {
    watch({ when: bytesOf(env["PROCSCOPE_WATCH"]), snapshot: env["PROCSCOPE_WATCH_SNAPSHOT"] });
  }
  const line = Boolean(env["PROCSCOPE_EXIT_LINE"]);
  if (line) process.on("exit", () => print(0, "exit"));
  if (dumps.length === 0 && !env["PROCSCOPE_WATCH"] && !line && isMainThread) {
    tell(
      "nothing to do: set PROCSCOPE_CPU=cpu.pdf, PROCSCOPE_HEAP=heap.pdf, PROCSCOPE_WATCH=100MiB or PROCSCOPE_EXIT_LINE=1",
    );
  }
}

// The process that converts our profiles inherits our environment.
if (!env["PROCSCOPE_CONVERTING"]) {
  try {
    register();
  } catch (error) {
    tell(error instanceof ProcscopeError && error.hint ? `${error.message}; ${error.hint}` : String(error));
  }
}
