import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseDuration } from "../../base/duration.ts";
import { ProcscopeError } from "../../base/errors.ts";
import { packageRoot } from "../../base/package-root.ts";
import type { Seconds } from "../../base/units.ts";
import { parseNameFlags, readRuleFile } from "../../exporter/config.ts";
import { Exporter, type ExporterSettings } from "../../exporter/exporter.ts";
import { goBoolFlags, parseGoBool, rewriteGoFlags } from "../../exporter/flags.ts";
import type { GoLevel } from "../../exporter/go-inside.ts";
import type { Rule } from "../../exporter/rules.ts";
import { startServer } from "../../exporter/server.ts";
import { limitYoungGeneration } from "../../exporter/small-heap.ts";
import type { TopBy } from "../../exporter/top-groups.ts";
import { keepMemorySmall } from "../../kernel/malloc.ts";
import { sourceNames } from "../../proc/sources/open.ts";
import type { SourceName } from "../../proc/sources/source.ts";
import {
  choice,
  defineCommand,
  type Invocation,
  type Option,
  option,
  optionWithDefault,
  repeated,
} from "../command.ts";
import { notice, openSink } from "../output.ts";

const goBool = (name: string, help: string, fallback: boolean): Option<boolean> =>
  optionWithDefault(`--${name} <bool>`, help, fallback, parseGoBool);

const text = (word: string): string => word;

const options = {
  "web.listen-address": optionWithDefault(
    "--web.listen-address <address>",
    "where to listen; :9256 is all interfaces",
    "127.0.0.1:9256",
    text,
  ),
  "web.telemetry-path": optionWithDefault("--web.telemetry-path <path>", "path of the metrics", "/metrics", text),
  "web.config.file": option(
    "--web.config.file <file>",
    "YAML file with TLS, users and limits, read again when it changes",
  ),
  "once-to-stdout-delay": option(
    "--once-to-stdout-delay <duration>",
    "do not listen: wait so long, print the metrics once and end",
    parseDuration,
  ),
  procnames: optionWithDefault("--procnames <names>", "process names to export, comma-separated", "", text),
  namemapping: optionWithDefault(
    "--namemapping <list>",
    "alternating process name and regular expression, comma-separated",
    "",
    text,
  ),
  "config.path": option("--config.path <file>", "YAML file of the groups"),
  procfs: optionWithDefault("--procfs <path>", "where procfs is mounted", "/proc", text),
  children: goBool("children", "a process in no group counts for its nearest ancestor's", true),
  threads: goBool("threads", "also per thread name", true),
  "gather-smaps": goBool("gather-smaps", "also proportional memory: walks page tables, stalls large targets", false),
  recheck: goBool("recheck", "look at names and command lines again at each scrape", false),
  "recheck-with-time-limit": option(
    "--recheck-with-time-limit <duration>",
    "the same, only while a process is younger than this",
    parseDuration,
  ),
  "remove-empty-groups": goBool("remove-empty-groups", "forget a group as soon as it has no process", false),
  debug: goBool("debug", "log what the sources of processes have to say", false),
  man: goBool("man", "print the manual and end", false),
  version: goBool("version", "print the version and end", false),
  source: choice("--source <name>", "how processes are read; default: the cheapest that works", [
    "auto",
    ...sourceNames,
  ]),
  exits: choice("--exits <when>", "count short-lived processes by exit records; default auto", ["auto", "on", "off"]),
  go: choice("--go <level>", "what to read inside Go processes; default counts", ["off", "counts", "full"]),
  goBudget: optionWithDefault<Seconds>("--go-budget <duration>", "time for that in a scrape", 0.2, parseDuration),
  label: repeated(
    "--label <label>",
    "label on all groups: user, container, pod, unit, or name={{template}}; repeatable",
  ),
  "zero-rows": goBool("zero-rows", "rows for configured groups that never had a process", false),
  top: option("--top <n>", "show only the n groups that use most, the rest summed as other", parseCount),
  topBy: choice("--top-by <what>", "what they use; default cpu", ["cpu", "memory"]),
  maxGroups: optionWithDefault("--max-groups <n>", "groups past these count for other", 10_000, parseCount),
  maxThreadNames: optionWithDefault("--max-thread-names <n>", "the same for thread names in a group", 500, parseCount),
  groupLife: option("--group-life <duration>", "forget a group that has been empty for so long", parseDuration),
  stateFile: option("--state-file <file>", "keep counters over restarts in this file"),
  smapsBudget: optionWithDefault<Seconds>(
    "--smaps-budget <duration>",
    "time for --gather-smaps in a scrape",
    0.1,
    parseDuration,
  ),
  smapsLargest: optionWithDefault(
    "--smaps-largest <bytes>",
    "resident size above which a process is left out of it",
    8 * 2 ** 30,
    parseCount,
  ),
  reuse: optionWithDefault<Seconds>(
    "--reuse <duration>",
    "scrapes within this time share one scan",
    0.05,
    parseDuration,
  ),
};

/** Names of the flags that are on or off, and of those with a value: each may be written with one dash or two. */
const boolFlags = new Set<string>([...goBoolFlags, "zero-rows"]);
const valueFlags = new Set<string>(
  Object.values(options)
    .map((option) => /^--([\w.-]+)/.exec(option.flags)![1]!)
    .filter((name) => !boolFlags.has(name)),
);

export const command = defineCommand({
  name: "exporter",
  description:
    "Exports groups of processes to Prometheus: process-exporter's flags, configuration file and metrics, at a small part of its cost, with short-lived processes counted. Flags may be written with one dash or two, as Go programs take them.",
  options,
  examples: [
    ["procscope exporter -config.path groups.yml", "groups from a file, on 127.0.0.1:9256"],
    ["procscope exporter -procnames nginx,postgres -web.listen-address=:9256", "two groups, on all interfaces"],
    ["procscope exporter -config.path groups.yml -once-to-stdout-delay 1s", "print the metrics once"],
    ["procscope exporter -config.path groups.yml --label container --top 50", "a label, and at most 50 groups"],
  ],
  rewrite: (words) => rewriteGoFlags(words, boolFlags, valueFlags),
  run: runExporter,
});

type Values = Invocation<typeof options>["options"];

async function runExporter({
  options: values,
  operands,
  signal,
}: Invocation<typeof options>): Promise<number | undefined> {
  if (operands.length > 0) throw new ProcscopeError("USAGE", `unexpected operand: ${operands[0]}`);
  if (values.version) return print(`procscope exporter, version ${version()} (node ${process.version})\n`);
  if (values.man) return print(manual);
  limitYoungGeneration();
  keepMemorySmall();
  const exporter = await Exporter.open(settingsOf(values));
  try {
    if (values["once-to-stdout-delay"] !== undefined && values["once-to-stdout-delay"] > 0) {
      await delay(values["once-to-stdout-delay"] * 1000, undefined, { signal }).catch(() => {});
      return print(await exporter.collector.collect("text"));
    }
    return await serve(exporter, values, signal);
  } finally {
    exporter.close();
  }
}

async function serve(exporter: Exporter, values: Values, signal: AbortSignal): Promise<undefined> {
  exporter.start();
  const server = await startServer({
    listenAddress: values["web.listen-address"],
    metricsPath: values["web.telemetry-path"],
    webConfigFile: values["web.config.file"],
    collect: (format, encoding) => exporter.collector.collect(format, encoding),
    isReady: () => true,
    log,
  });
  const { source } = exporter.collector.grouper;
  log(`listening on ${server.url}${values["web.telemetry-path"]}, processes read by ${source.name}`);
  if (/^(127\.|localhost:|\[::1\])/.test(values["web.listen-address"])) {
    log("only this machine can reach it: -web.listen-address=:9256 opens it to the network");
  }
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  log("shutting down");
  await server.stop();
  return undefined;
}

/** The rules that -config.path, or -procnames and -namemapping, give. */
export async function rulesOf(values: {
  readonly "config.path": string | undefined;
  readonly procnames: string;
  readonly namemapping: string;
}): Promise<readonly Rule[]> {
  const path = values["config.path"];
  if (path === undefined) return parseNameFlags(values.procnames, values.namemapping);
  if (values.procnames !== "" || values.namemapping !== "") {
    throw new ProcscopeError("USAGE", "-config.path cannot be used with -namemapping or -procnames");
  }
  return await readRuleFile(path);
}

function settingsOf(values: Values): ExporterSettings {
  return {
    readRules: async () => {
      const rules = await rulesOf(values);
      if (rules.length === 0) log("no groups are configured: give -config.path or -procnames");
      return rules;
    },
    mount: values.procfs,
    children: values.children,
    threads: values.threads,
    smaps: values["gather-smaps"],
    smapsBudget: values.smapsBudget,
    smapsLargest: values.smapsLargest,
    recheck: values.recheck,
    recheckLimit: values["recheck-with-time-limit"] ?? 0,
    removeEmptyGroups: values["remove-empty-groups"],
    groupLife: values.groupLife,
    source: (values.source ?? "auto") as SourceName | "auto",
    exits: (values.exits ?? "auto") as "auto" | "on" | "off",
    labels: values.label,
    zeroRows: values["zero-rows"],
    top: values.top,
    topBy: (values.topBy ?? "cpu") as TopBy,
    maxGroups: values.maxGroups,
    maxThreadNames: values.maxThreadNames,
    stateFile: values.stateFile,
    go: (values.go ?? "counts") as GoLevel,
    goBudget: values.goBudget,
    reuse: values.reuse,
    version: version(),
    openGoInside: async () => new (await import("../../exporter/go-reader.ts")).GoReader(),
    log: values.debug ? log : quiet,
  };
}

function parseCount(word: string): number {
  if (/^\d{1,15}$/.test(word) && Number(word) > 0) return Number(word);
  throw new ProcscopeError("USAGE", `not a number above 0: ${word}`);
}

function print(text: string | Buffer): undefined {
  openSink().write(text);
  return undefined;
}

function log(message: string): void {
  notice(`${new Date().toISOString()} ${message}`);
}

/** Without -debug, what the sources have to say is left out; mistakes and losses are not. */
function quiet(message: string): void {
  if (!message.startsWith("source ")) log(message);
}

function version(): string {
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  return version;
}

const manual = `procscope exporter [options] -config.path FILE
procscope exporter [options] -procnames NAME,… [-namemapping NAME,REGEX,…]

The file is a YAML mapping with the list process_names. Each item names a group and says which processes belong to it;
the first item that matches a process wins:

  process_names:
    - name: "{{.Comm}}"        # default {{.ExeBase}}
      comm: [bash]             # the name in /proc/PID/stat is one of these
      exe: [/usr/bin/postgres] # argv[0]: base name, or the whole of it where it has a slash
      cmdline: ["-D (?P<Dir>\\\\S+)"]  # all of these match the arguments joined by spaces
      labels: {team: db}       # labels on the group (procscope only)

Conditions of different kinds must all hold. A name may use {{.Comm}} {{.ExeBase}} {{.ExeFull}} {{.Username}} {{.PID}}
{{.StartTime}} {{.Cgroups}} {{.Matches.NAME}} and, procscope only, {{.Exe}} {{.ContainerID}} {{.PodID}} {{.SystemdUnit}}.

With -children (the default), a process that no item matches counts for the group of its nearest ancestor that one does.
-procnames lists names as in /proc/PID/stat (15 characters at most); -namemapping gives processes of a name the group
"name:text", text being what the first group of the regular expression matched in the command line.

procscope groups --explain PID says which item named a process and why.
`;
