import { setTimeout as delay } from "node:timers/promises";
import { parseDuration } from "../../base/duration.ts";
import { ProcscopeError } from "../../base/errors.ts";
import { escapeTerminal } from "../../base/escape.ts";
import { formatBytes } from "../../base/quantity.ts";
import { textTable } from "../../base/text-table.ts";
import type { Seconds } from "../../base/units.ts";
import { parseRuleFile } from "../../exporter/config.ts";
import { type Explanation, explain } from "../../exporter/explain.ts";
import { parseLabels } from "../../exporter/exporter.ts";
import { parseGoBool } from "../../exporter/flags.ts";
import { GoReader } from "../../exporter/go-reader.ts";
import { type GroupSample, GroupSampler } from "../../exporter/group-sampler.ts";
import { RuleNamer } from "../../exporter/rules.ts";
import { readBootTime } from "../../kernel/boot-time.ts";
import { ColumnGrouper } from "../../proc/column-grouper.ts";
import { openExitSource } from "../../proc/sources/exits.ts";
import { openBestSource, openSource, sourceNames } from "../../proc/sources/open.ts";
import type { ExitSource, ProcessSource, SourceName } from "../../proc/sources/source.ts";
import {
  choice,
  defineCommand,
  flag,
  type Invocation,
  type Option,
  option,
  optionWithDefault,
  repeated,
} from "../command.ts";
import { jsonHeader, openSink, type Sink } from "../output.ts";
import { rulesOf } from "./exporter.ts";

const text = (word: string): string => word;
const schema = "procscope/groups/1";

const options = {
  config: option("--config <file>", "YAML file of the groups, as for the exporter; default: by process name"),
  configPath: { flags: "--config.path <file>", help: "", aliasOf: "config" } as Option<string | undefined>,
  procnames: optionWithDefault("--procnames <names>", "process names, comma-separated", "", text),
  namemapping: optionWithDefault("--namemapping <list>", "alternating process name and regular expression", "", text),
  interval: option(
    "-i, --interval <duration>",
    "show again and again; without it, once over one second",
    parseDuration,
  ),
  count: option("-n, --count <n>", "how often", Number),
  explain: option("--explain <pid>", "say which rule names that process, and why", parsePid),
  children: optionWithDefault(
    "--children <bool>",
    "a process in no group counts for its nearest ancestor's",
    true,
    parseGoBool,
  ),
  label: repeated("--label <label>", "label on all groups: user, container, pod, unit, or name={{template}}"),
  procfs: optionWithDefault("--procfs <path>", "where procfs is mounted", "/proc", text),
  source: choice("--source <name>", "how processes are read; default: the cheapest that works", [
    "auto",
    ...sourceNames,
  ]),
  json: flag("--json", "one JSON object each time"),
};

export const command = defineCommand({
  name: "groups",
  description:
    "Shows processes in groups, as the exporter exports them: how many, CPU, memory, IO. Short-lived processes count where exit records may be read.",
  options,
  examples: [
    ["procscope groups", "all processes by name, over one second"],
    ["procscope groups --config groups.yml --interval 2s", "the groups of a file, every two seconds"],
    ["procscope groups --config groups.yml --explain 4711", "which rule names process 4711"],
  ],
  schema,
  run: runGroups,
});

type Values = Invocation<typeof options>["options"];

/** Everything with a command line, by its name. */
const everything = `process_names: [{name: "{{.Comm}}", cmdline: [".+"]}]`;

async function runGroups({ options: values, signal }: Invocation<typeof options>): Promise<number | undefined> {
  const configured = values.config !== undefined || values.procnames !== "" || values.namemapping !== "";
  const rules = configured
    ? await rulesOf({ "config.path": values.config, procnames: values.procnames, namemapping: values.namemapping })
    : await parseRuleFile(everything);
  const namer = new RuleNamer(rules, parseLabels(values.label));
  const sink = openSink();
  if (values.explain !== undefined) {
    const explanation = explain(values.explain, namer, values.children, values.procfs);
    if (values.json) sink.write(`${JSON.stringify(explanationJson(values.explain, explanation))}\n`);
    else sink.write(explanationText(explanation));
    return undefined;
  }
  await watch(values, namer, sink, signal);
  return undefined;
}

async function watch(values: Values, namer: RuleNamer, sink: Sink, signal: AbortSignal): Promise<void> {
  const source =
    values.source === undefined || values.source === "auto"
      ? openBestSource(values.procfs).source
      : openSource(values.source as SourceName, values.procfs);
  const exits = values.procfs === "/proc" ? tryExits() : undefined;
  const go = values.procfs === "/proc" ? new GoReader() : undefined;
  try {
    const sampler = new GroupSampler(newGrouper(values, namer, source, exits), exits, go);
    await sampler.sample();
    const interval: Seconds = values.interval ?? 1;
    const count = values.interval === undefined ? 1 : (values.count ?? Number.POSITIVE_INFINITY);
    for (let i = 0; i < count && !signal.aborted; i++) {
      await delay(interval * 1000, undefined, { signal }).catch(() => {});
      if (signal.aborted && i > 0) break;
      const samples = (await sampler.sample()).filter((sample) => sample.processes > 0 || sample.exited > 0);
      if (values.json) sink.write(`${JSON.stringify(samplesJson(samples, interval, source, exits))}\n`);
      else sink.write(samplesText(samples, values.interval !== undefined));
    }
  } finally {
    source.close();
    exits?.close();
    go?.close();
  }
}

function newGrouper(
  values: Values,
  namer: RuleNamer,
  source: ProcessSource,
  exits: ExitSource | undefined,
): ColumnGrouper {
  return new ColumnGrouper({
    source,
    namer,
    mount: values.procfs,
    bootTime: readBootTime(values.procfs),
    trackChildren: values.children,
    threads: false,
    wchan: false,
    recheck: false,
    recheckLimit: 0,
    countFromStart: true,
    maxGroups: 100_000,
    maxThreadNames: 1,
    emptyGroupLife: Number.POSITIVE_INFINITY,
    exitRecords: exits !== undefined,
  });
}

function tryExits(): ExitSource | undefined {
  try {
    return openExitSource();
  } catch (error) {
    // Without the rights, short-lived processes are missed, as everywhere; `doctor` tells about it.
    if (error instanceof ProcscopeError) return undefined;
    throw error;
  }
}

function samplesText(samples: readonly GroupSample[], again: boolean): string {
  const hasGo = samples.some((sample) => sample.goroutines !== undefined);
  const lines = textTable(
    [
      { title: "GROUP" },
      ...["PROCS", "THREADS", "CPU%", "RSS", "SWAP", "READ/S", "WRITE/S", "FILES", "EXITED"].map((title) => ({
        title,
        align: "right" as const,
      })),
      ...(hasGo ? [{ title: "GOROUTINES", align: "right" as const }] : []),
    ],
    samples.map((sample) => [
      groupTitle(sample),
      String(sample.processes),
      String(sample.threads),
      (sample.cpus * 100).toFixed(1),
      formatBytes(sample.residentBytes),
      formatBytes(sample.swapBytes),
      formatBytes(Math.round(sample.readBytesPerSecond)),
      formatBytes(Math.round(sample.writeBytesPerSecond)),
      String(sample.openFiles),
      String(sample.exited),
      ...(hasGo ? [sample.goroutines === undefined ? "" : String(sample.goroutines)] : []),
    ]),
  );
  const clear = again && process.stdout.isTTY ? "\x1b[H\x1b[2J" : "";
  return `${clear}${lines.join("\n")}\n${again && !process.stdout.isTTY ? "\n" : ""}`;
}

function groupTitle({ name, labels }: Pick<GroupSample, "name" | "labels">): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}=${value}`);
  return escapeTerminal(pairs.length === 0 ? name : `${name} {${pairs.join(", ")}}`);
}

function samplesJson(
  samples: readonly GroupSample[],
  interval: Seconds,
  source: ProcessSource,
  exits: ExitSource | undefined,
): Record<string, unknown> {
  return {
    ...jsonHeader(schema, { source: source.name, exits: exits?.name ?? null, intervalSeconds: interval }),
    groups: samples,
  };
}

function explanationText({ lineage, group, inherited }: Explanation): string {
  const lines: string[] = [];
  for (const [i, process] of lineage.entries()) {
    const title = `${i === 0 ? "process" : "its parent"} ${process.pid} (${process.comm})`;
    const line = process.cmdline.join(" ");
    lines.push(
      escapeTerminal(line.length === 0 ? title : `${title}: ${line.length > 160 ? `${line.slice(0, 160)}…` : line}`),
    );
    for (const rule of process.rules) {
      const verdict = rule.naming ? `matched, group ${groupTitle(rule.naming)}` : "no match";
      lines.push(`  ${rule.origin}: ${verdict}`);
      for (const condition of rule.conditions) {
        lines.push(`    ${condition.matched ? "yes" : "no "}  ${escapeTerminal(condition.description)}`);
      }
    }
    if (process.rules.length === 0) lines.push("  there are no rules");
  }
  if (!group) lines.push("It belongs to no group: neither it nor an ancestor is named by a rule.");
  else if (inherited)
    lines.push(`It counts for group ${groupTitle(group)}, as its ancestor ${lineage.at(-1)!.pid} does.`);
  else lines.push(`It counts for group ${groupTitle(group)}.`);
  return `${lines.join("\n")}\n`;
}

function explanationJson(pid: number, { lineage, group, inherited }: Explanation): Record<string, unknown> {
  return { ...jsonHeader(schema, { pid }), explanation: { group: group ?? null, inherited, lineage } };
}

function parsePid(word: string): number {
  if (/^[1-9]\d{0,9}$/.test(word)) return Number(word);
  throw new ProcscopeError("USAGE", `not a process id: ${word}`);
}
