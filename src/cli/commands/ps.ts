/** `procscope ps`: the Go processes of the machine, without anything in them that helps. */
import { escapeTerminal } from "../../base/escape.ts";
import { formatBytes } from "../../base/quantity.ts";
import { textTable } from "../../base/text-table.ts";
import { type GoProcessEntry, listGoProcesses } from "../../go/process-list.ts";
import { defineCommand, flag } from "../command.ts";
import { jsonHeader, notice, openSink } from "../output.ts";

const schema = "procscope/ps/1";

export const command = defineCommand({
  name: "ps",
  description:
    "Lists the Go processes of this machine: version, main module, goroutines, memory, start, container. They need no\n" +
    "agent; programs that were deleted, replaced or belong to a container are found as well.",
  options: {
    // commander makes a --no- option true unless it is given.
    goroutines: flag("--no-goroutines", "do not count goroutines, which costs some milliseconds for each process"),
    json: flag("--json", "one JSON object"),
  },
  examples: [
    ["procscope ps", "the Go processes that this user may look at"],
    ["sudo procscope ps", "all of them"],
    ["procscope ps --json | jq '.processes[].pid'", "their pids"],
  ],
  schema,
  async run({ options }) {
    const { processes, denied } = listGoProcesses({ goroutines: options.goroutines });
    const sink = openSink();
    if (options.json)
      sink.write(`${JSON.stringify(jsonHeader(schema, { processes: processes.map(toJson), denied }))}\n`);
    else sink.write(`${textTable(columns, processes.map(toCells)).join("\n")}\n`);
    for (const { pid, problem } of options.json ? [] : processes)
      if (problem) notice(`  ${pid}: ${escapeTerminal(problem.message)}`);
    if (denied > 0) notice(deniedText(denied));
    return undefined;
  },
});

const columns = [
  { title: "PID", align: "right" },
  { title: "USER" },
  { title: "NAME" },
  { title: "GO" },
  { title: "MODULE" },
  { title: "GOROUTINES", align: "right" },
  { title: "RSS", align: "right" },
  { title: "STARTED" },
  { title: "CONTAINER" },
] as const;

function toCells(entry: GoProcessEntry): string[] {
  const module = entry.module ? `${entry.module.path}@${entry.module.version || "(devel)"}` : (entry.path ?? "-");
  return [
    String(entry.pid),
    entry.user,
    entry.name + (entry.deleted ? " (deleted)" : ""),
    entry.goVersion ?? "?",
    module,
    entry.goroutines === undefined ? "-" : String(entry.goroutines),
    formatBytes(entry.residentBytes),
    started(entry.startTime),
    entry.container ?? "-",
  ].map(escapeTerminal);
}

/** Local time: of today the time of day, before it the date. */
function started(seconds: number): string {
  const pad = (n: number): string => String(n).padStart(2, "0");
  const date = new Date(seconds * 1000);
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  const today = date.toDateString() === new Date().toDateString();
  return today ? `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}` : day;
}

function toJson(entry: GoProcessEntry): Record<string, unknown> {
  return {
    ...entry,
    goVersion: entry.goVersion ?? null,
    path: entry.path ?? null,
    module: entry.module ?? null,
    goroutines: entry.goroutines ?? null,
    startTime: new Date(entry.startTime * 1000).toISOString(),
    container: entry.container ?? null,
    problem: entry.problem ?? null,
  };
}

function deniedText(denied: number): string {
  const hint = process.geteuid?.() === 0 ? "" : "; run as root, or see procscope doctor";
  return `${denied} ${denied === 1 ? "process" : "processes"} could not be looked at${hint}`;
}
