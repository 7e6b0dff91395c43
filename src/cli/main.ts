#!/usr/bin/env node
/** The command line tool: finds the command, runs it, and turns what it throws into one sentence and an exit status. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { letNodeEnd } from "../base/clean-exit.ts";
import { errnoOf, exitStatus, ProcscopeError } from "../base/errors.ts";
import { escapeTerminal } from "../base/escape.ts";
import { packageRoot } from "../base/package-root.ts";
import { commandHelp, topHelp } from "./help.ts";
import { notice, openSink } from "./output.ts";
import { parseWords } from "./parse.ts";
import { findRow } from "./table.ts";

async function main(words: readonly string[]): Promise<number> {
  const [word, ...rest] = words;
  if (word === undefined || word === "--help" || word === "-h" || (word === "help" && rest.length === 0)) {
    openSink().write(topHelp());
    return word === undefined ? exitStatus.usage : exitStatus.ok;
  }
  if (word === "--version" || word === "-V" || word === "version") {
    openSink().write(`procscope ${version()} (node ${process.version})\n`);
    return exitStatus.ok;
  }
  if (word === "help") return main([rest[0]!, "--help"]);
  const row = findRow(word);
  if (!row)
    throw new ProcscopeError("USAGE", `no such command: ${escapeTerminal(word)}`, {
      hint: "procscope --help lists them",
    });
  const { command } = await row.load();
  const parsed = parseWords(command, rest);
  if (parsed.help) {
    openSink().write(commandHelp(command));
    return exitStatus.ok;
  }
  const abort = new AbortController();
  let interrupted = false;
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      // A second signal ends a command that does not come to its end.
      if (interrupted) process.exit(exitStatus.interrupted);
      interrupted = true;
      abort.abort();
    });
  }
  return (await command.run({ ...parsed.invocation, signal: abort.signal })) ?? exitStatus.ok;
}

function version(): string {
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  return version;
}

function report(error: unknown): number {
  if (error instanceof ProcscopeError) {
    notice(`procscope: ${escapeTerminal(error.message)}`);
    if (error.hint) notice(`  ${escapeTerminal(error.hint)}`);
    return error.exitStatus;
  }
  if (errnoOf(error) === "EPIPE") return exitStatus.ok;
  notice(`procscope: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  notice("  this is a bug in procscope; please report it with the lines above");
  return exitStatus.failure;
}

// For process.exit(); an end that comes by itself waits for the compiler before it tells of the exit.
process.on("exit", letNodeEnd);
main(process.argv.slice(2))
  .catch(report)
  .then((status) => {
    process.exitCode = status;
    letNodeEnd();
  });
process.stdout.on("error", (error) => {
  if (errnoOf(error) === "EPIPE") process.exit(exitStatus.ok);
});
