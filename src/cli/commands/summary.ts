import { readlinkSync } from "node:fs";
import { parseDuration } from "../../base/duration.ts";
import { escapeTerminal } from "../../base/escape.ts";
import type { Seconds } from "../../base/units.ts";
import type { GoProcess } from "../../go/process.ts";
import { countThreads } from "../../kernel/thread-states.ts";
import { type GoroutineFilter, parseFunctionPattern, parseLabel, parseStates } from "../../views/filters.ts";
import type { GoroutineSource } from "../../views/goroutine-source.ts";
import type { LiveGoroutines } from "../../views/live-goroutines.ts";
import { type PlaceKind, placeKinds, stateCounts, summaryRows } from "../../views/summary.ts";
import { choice, defineCommand, flag, type Invocation, type Option, option, repeated } from "../command.ts";
import { openSink, paintFor } from "../output.ts";
import { usageError } from "../parse.ts";
import { headJson, type SummaryHead, summaryJson } from "../summary-json.ts";
import { headLines, rowLine } from "../summary-text.ts";
import { resolveTarget, targetOptions } from "../target.ts";

const options = {
  ...targetOptions,
  pc: choice("--pc <place>", "the function shown: caller (go statement; default), start or current", placeKinds),
  fullNames: flag("--full-names", "whole function names, with their packages' paths"),
  user: flag("--user", "without the runtime's own goroutines"),
  system: flag("--system", "with them (default)"),
  verbose: flag("-v, --verbose", "scheduler, processors, heap, GC; wait time, thread and labels of each goroutine"),
  state: option("--state <list>", "only running, runnable, syscall, waiting or idle ones", parseStates),
  reason: option("--reason <text>", "only those that wait for this (part of the reason)"),
  function: option("--function <regex>", "only those with such a function: in the stack, started or creating"),
  label: repeated("--label <key[=value]>", "only those with this pprof label"),
  longerThan: option<Seconds>("--longer-than <duration>", "only those known to wait so long", parseDuration),
  group: option("--group <what>", "counts by function, reason, creator, state, stack, resource or label:KEY"),
  from: option("--from <file>", "read a saved dump instead: text, JSON, debug=1 or 2, SIGQUIT log; gzipped or not"),
  nonBlocking: {
    flags: "--non-blocking",
    help: "accepted: nothing ever blocks",
    aliasOf: "nothing",
  } as Option<boolean>,
  json: flag("--json", "print JSON"),
};

type SummaryInvocation = Invocation<typeof options>;

export const command = defineCommand({
  name: "summary",
  operands: "[pid]",
  description:
    "Lists the goroutines of a running Go process, one a line: id, state, what it waits for, function and place. By\n" +
    "default the place is that of the go statement. The process is neither stopped nor changed.",
  options,
  schema: "procscope/summary/1",
  examples: [
    ["procscope summary 4711", "all goroutines"],
    ["procscope summary --pid 4711 --state waiting --longer-than 5m", "what hangs"],
    ["procscope summary --pid 4711 --group function", "how many were started where"],
    ["procscope summary --from goroutines.txt.gz --reason chan", "of a saved dump"],
  ],
  run: runSummary,
});

async function runSummary(invocation: SummaryInvocation): Promise<undefined> {
  const { options: values } = invocation;
  // Words that mean nothing are told before a process is looked at.
  if (values.group !== undefined) {
    const { parseGroupBy } = await import("../../views/groups.ts");
    if (parseGroupBy(values.group).kind === "resource")
      throw usageError(command, "what goroutines wait for together is shown by procscope top --group resource");
  }
  if (values.function !== undefined) parseFunctionPattern(values.function);
  if (values.from !== undefined) {
    if (values.pid !== undefined || values.name !== undefined || invocation.program || invocation.operands.length > 0)
      throw usageError(command, "--from and a process exclude each other");
    const { readDumpFile } = await import("../../views/dump-parser.ts");
    const source = readDumpFile(values.from);
    const head = { from: values.from, takenAt: source.takenAt, states: stateCounts(source, headFilter(values)) };
    await print(invocation, source, head);
    return undefined;
  }
  await using target = await resolveTarget(invocation);
  const [{ attachTarget }, { goroutineGlobals }] = await Promise.all([
    import("../attach-target.ts"),
    import("../../go/runtime.ts"),
  ]);
  using go = await attachTarget(target, { globals: values.verbose ? undefined : goroutineGlobals, once: true });
  const source = await snapshot(go, values);
  await print(invocation, source, await liveHead(go, source, values));
  return undefined;
}

/** Stacks are read only where they are asked for: they cost several times the rest. */
async function snapshot(go: GoProcess, values: SummaryInvocation["options"]): Promise<LiveGoroutines> {
  const [{ GoroutineReader }, { takeSnapshot }, { LiveGoroutines }] = await Promise.all([
    import("../../go/goroutine-reader.ts"),
    import("../../go/snapshot.ts"),
    import("../../views/live-goroutines.ts"),
  ]);
  const stacks =
    values.pc === "start" || values.function !== undefined || ["stack", "resource"].includes(values.group ?? "");
  return new LiveGoroutines(takeSnapshot(new GoroutineReader(go.runtime), { stacks }));
}

async function liveHead(
  go: GoProcess,
  source: LiveGoroutines,
  values: SummaryInvocation["options"],
): Promise<SummaryHead> {
  const head = {
    pid: go.pid,
    bin: programPath(go.pid),
    goVersion: go.runtime.version.text,
    takenAt: source.takenAt,
    threads: countThreads(go.pid),
    states: stateCounts(source, headFilter(values)),
  };
  if (!values.verbose) return head;
  const { verboseHead } = await import("../summary-verbose.ts");
  return { ...head, ...verboseHead(go.runtime, source) };
}

/** The counts in the head are of all goroutines, but for the choice between user and system. */
function headFilter(values: SummaryInvocation["options"]): GoroutineFilter {
  return { system: values.user && !values.system ? false : undefined };
}

function filterOf(values: SummaryInvocation["options"]): GoroutineFilter {
  return {
    ...headFilter(values),
    states: values.state,
    reason: values.reason,
    function: values.function === undefined ? undefined : parseFunctionPattern(values.function),
    labels: values.label.map(parseLabel),
    longerThan: values.longerThan,
  };
}

const linesAtOnce = 2000;

async function print(invocation: SummaryInvocation, source: GoroutineSource, head: SummaryHead): Promise<void> {
  const { options: values } = invocation;
  const kind: PlaceKind = values.pc ?? "caller";
  const filter = filterOf(values);
  if (values.group === "resource") {
    await printWaits(source, head, filter, values);
    return;
  }
  if (values.group !== undefined) {
    const { printGroups } = await import("../summary-groups.ts");
    printGroups(source, { by: values.group, kind, filter, json: values.json, full: values.fullNames, head });
    return;
  }
  const sink = openSink();
  const rows = summaryRows(source, kind, filter);
  if (values.json) {
    sink.write(`${JSON.stringify(summaryJson(head, kind, source, rows))}\n`);
    return;
  }
  const paint = paintFor(process.stdout);
  // Names of a target must not drive the terminal; in a file or pipe they stay what they are.
  const harmless = process.stdout.isTTY ? escapeTerminal : (text: string) => text;
  const threadOf = values.verbose && head.threadOf ? head.threadOf : undefined;
  let lines = [...headLines(head), "", "goroutines:", ""];
  for (const row of rows) {
    lines.push(rowLine(row, { full: values.fullNames, verbose: values.verbose, paint, harmless, threadOf }));
    if (lines.length >= linesAtOnce) {
      sink.write(`${lines.join("\n")}\n`);
      lines = [];
    }
  }
  if (lines.length > 0) sink.write(`${lines.join("\n")}\n`);
}

/** Who waits for whom. Throws USAGE for a saved dump, which does not tell it. */
async function printWaits(
  source: GoroutineSource,
  head: SummaryHead,
  filter: GoroutineFilter,
  { json, fullNames, pc }: SummaryInvocation["options"],
): Promise<void> {
  const { LiveGoroutines } = await import("../../views/live-goroutines.ts");
  if (!(source instanceof LiveGoroutines) || head.pid === undefined)
    throw usageError(command, "a saved dump does not tell what its goroutines wait for");
  const { printResources } = await import("../summary-resources.ts");
  const words = { head: headLines(head), jsonHead: headJson(head, pc ?? "caller") };
  printResources(source, { pid: head.pid, filter, json, full: fullNames, ...words });
}

function programPath(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return "unknown";
  }
}
