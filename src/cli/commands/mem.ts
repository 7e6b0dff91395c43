/** `procscope mem`: runtime.MemStats of a running Go process. */
import { setTimeout as delay } from "node:timers/promises";
import { parseDuration } from "../../base/duration.ts";
import { ProcscopeError } from "../../base/errors.ts";
import { escapeTerminal } from "../../base/escape.ts";
import type { Nanoseconds } from "../../base/units.ts";
import type { MemStats } from "../../go/mem-stats.ts";
import type { GoProcess } from "../../go/process.ts";
import { readProcStatus } from "../../kernel/proc-status.ts";
import { attachTarget } from "../attach-target.ts";
import { choice, defineCommand, flag, type Invocation, option } from "../command.ts";
import { changesJson, memdebugText, memoryJson, memoryMetrics, memoryTable } from "../memory-formats.ts";
import { jsonHeader, openSink, type Sink } from "../output.ts";
import { resolveTarget, targetOptions } from "../target.ts";
import { wholeNumber } from "../whole-number.ts";

const schema = "procscope/mem/1";

const options = {
  ...targetOptions,
  interval: option("-i, --interval <duration>", "show again and again, with what changed", parseDuration),
  refresh: { flags: "--refresh <duration>", help: "alias of --interval", parse: parseDuration, aliasOf: "interval" },
  count: option("-n, --count <n>", "how often", (text) => wholeNumber(text, "--count", 1)),
  iterations: {
    flags: "--iterations <n>",
    help: "alias of --count",
    parse: (text: string) => wholeNumber(text, "--iterations", 1),
    aliasOf: "count",
  },
  format: choice("-f, --format <name>", "text (default), json, prometheus (client_golang's names), memdebug", [
    "text",
    "json",
    "prometheus",
    "memdebug",
  ]),
  json: flag("--json", "one JSON object a reading, with the names of runtime.MemStats"),
};

export const command = defineCommand({
  name: "mem",
  operands: "[pid]",
  description:
    "Shows the memory statistics of a running Go process: every field of runtime.MemStats, as the process's own\n" +
    "ReadMemStats would return them, read from outside without stopping it.",
  options,
  examples: [
    ["procscope mem 1234", "a table for people"],
    ["procscope mem 1234 --interval 1s", "every second, with what changed"],
    ["procscope mem 1234 --json | jq -r .memStats.HeapAlloc", "one field"],
    ["procscope mem 1234 --format prometheus", "go_memstats_* as the program itself would export them"],
    ["procscope mem 1234 --format memdebug -i 1s", "one line a second, as memdebug prints"],
  ],
  schema,
  async run(invocation) {
    await using target = await resolveTarget(invocation);
    using process = await attachTarget(target);
    await report(process, invocation, openSink());
    return undefined;
  },
});

async function report(go: GoProcess, invocation: Invocation<typeof options>, sink: Sink): Promise<void> {
  const { options: values, signal } = invocation;
  const show = shower(go, values, sink);
  const began = process.hrtime.bigint();
  const count = values.count ?? (values.interval === undefined ? 1 : Number.POSITIVE_INFINITY);
  let before: MemStats | undefined;
  for (let i = 0; i < count && !signal.aborted; i++) {
    if (i > 0) await delay(1000 * (values.interval ?? 1), undefined, { signal }).catch(() => {});
    if (signal.aborted) break;
    const stats = go.memStats();
    show(stats, before, Number(process.hrtime.bigint() - began));
    before = stats;
  }
}

type Show = (stats: MemStats, before: MemStats | undefined, elapsed: Nanoseconds) => void;

function shower(go: GoProcess, values: Invocation<typeof options>["options"], sink: Sink): Show {
  const format = values.json ? "json" : (values.format ?? "text");
  if (values.json && values.format !== undefined && values.format !== "json")
    throw new ProcscopeError("USAGE", `--json and --format ${values.format} are two formats`);
  const { pid, version } = go.info;
  const name = escapeTerminal(readProcStatus(pid).name);
  const again = values.interval !== undefined;
  switch (format) {
    case "json":
      return (stats, before) => {
        const changes = before === undefined ? {} : { changes: changesJson(stats, before) };
        const about = { pid, goVersion: version.text, memStats: memoryJson(stats), ...changes };
        sink.write(`${JSON.stringify(jsonHeader(schema, about))}\n`);
      };
    case "prometheus":
      return (stats) => sink.write(memoryMetrics(stats));
    case "memdebug":
      return (stats, before, elapsed) => {
        const colour = process.stdout.isTTY === true && !process.env["NO_COLOR"];
        sink.write(memdebugText(stats, before, elapsed, `${name} ${pid}`, colour));
      };
    default:
      return (stats, before) => {
        const title = again ? `${name} (${pid}), ${version.text}, ${new Date().toISOString()}\n` : "";
        sink.write(`${title}${memoryTable(stats, before)}${again ? "\n" : ""}`);
      };
  }
}
