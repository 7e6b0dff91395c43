import { readlinkSync } from "node:fs";
import { ProcscopeError } from "../../base/errors.ts";
import { GoroutineReader } from "../../go/goroutine-reader.ts";
import { goroutineGlobals } from "../../go/runtime.ts";
import { type DumpTally, dumpChunks, dumpFormats, newTally } from "../../views/dump.ts";
import { attachTarget } from "../attach-target.ts";
import { choice, defineCommand, flag, type Invocation, option } from "../command.ts";
import { jsonHeader, notice, openSink } from "../output.ts";
import { resolveTarget, targetOptions } from "../target.ts";

const schema = "procscope/dump/1";

const options = {
  ...targetOptions,
  goroutine: option("-g, --goroutine <id>", "only the goroutine with this id", parseId),
  format: choice("--format <format>", "runtime (default), grouped, folded, pprof or json", dumpFormats),
  output: option("-o, --output <file>", "write to a file, which appears when it is whole"),
  system: flag("--system", "with the runtime's own goroutines"),
  user: flag("--user", "without them (default)"),
  json: flag("--json", "same as --format json"),
};

export const command = defineCommand({
  name: "dump",
  operands: "[pid]",
  description:
    "Prints the full stacks of all goroutines, read while the process runs: it is neither stopped nor asked. The default\n" +
    "format is what the process itself prints for /debug/pprof/goroutine?debug=2, and nothing of it is cut.\n" +
    "Formats: runtime (text as of debug=2), grouped (stacks with counts, as of debug=1), folded (for flame graphs),\n" +
    "pprof (for go tool pprof), json (a header line, then a line a goroutine).",
  options,
  examples: [
    ["procscope dump 4711 -o goroutines.txt", "full stacks of all goroutines"],
    ["procscope dump --pid 4711 --goroutine 18", "one goroutine"],
    ["procscope dump --pid 4711 --format grouped", "how many goroutines have each stack"],
    ["procscope dump --pid 4711 --format pprof -o goroutines.pb.gz", "for go tool pprof or procscope convert"],
  ],
  schema,
  run: runDump,
});

function parseId(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new ProcscopeError("USAGE", `not a goroutine id: ${text}`, { hint: "procscope summary lists them" });
}

async function runDump(invocation: Invocation<typeof options>): Promise<undefined> {
  const { options: values, signal } = invocation;
  const format = values.json ? "json" : (values.format ?? "runtime");
  if (values.json && values.format !== undefined && values.format !== "json")
    throw new ProcscopeError("USAGE", `--json and --format ${values.format} exclude each other`);
  if (format === "pprof" && values.output === undefined && process.stdout.isTTY)
    throw new ProcscopeError("USAGE", "a pprof profile is no text for a terminal", { hint: "give a file with -o" });
  await using target = await resolveTarget(invocation);
  using go = await attachTarget(target, { globals: goroutineGlobals, once: true });
  const reader = new GoroutineReader(go.runtime);
  const tally = newTally();
  const subject = {
    pid: go.pid,
    goVersion: go.runtime.version.text,
    program: programOf(go.pid),
    header: jsonHeader(schema, { pid: go.pid, goVersion: go.runtime.version.text }),
  };
  const sink = openSink(values.output);
  try {
    const selection = { goroutine: values.goroutine, system: values.system && !values.user };
    for await (const chunk of dumpChunks(reader, format, selection, tally, subject)) {
      if (signal.aborted) throw new ProcscopeError("IO", "interrupted before the dump was whole");
      sink.write(chunk);
    }
    if (values.goroutine !== undefined && tally.goroutines === 0)
      throw new ProcscopeError("USAGE", `process ${go.pid} has no goroutine ${values.goroutine}`, {
        hint: "it may have ended; procscope summary lists them",
      });
    sink.close();
  } catch (error) {
    sink.discard();
    throw error;
  }
  report(tally);
  return undefined;
}

/** What a reader of the text could take for complete and is not. */
function report({ inconsistent, goroutines }: DumpTally): void {
  if (inconsistent === 0) return;
  notice(
    `procscope: ${inconsistent} of ${goroutines} goroutines changed each time they were read; their stacks are left out`,
  );
}

function programOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, "");
  } catch {
    return "";
  }
}
