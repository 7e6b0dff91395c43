import { readFileSync } from "node:fs";
import { parseDuration } from "../../base/duration.ts";
import { errnoOf, exitStatus, ProcscopeError } from "../../base/errors.ts";
import { diffProfiles, diffText } from "../../profile/diff.ts";
import type { Profile } from "../../profile/model.ts";
import { decodeProfile, looksLikeProfile } from "../../profile/readers.ts";
import {
  compareGrouped,
  type Difference,
  differenceText,
  type GroupedSnapshot,
  groupSnapshot,
  largestGrowth,
} from "../../views/difference.ts";
import { looksLikeDump, parseDump, readDumpFile } from "../../views/dump-parser.ts";
import { plainPlace } from "../../views/goroutine-source.ts";
import { type GroupBy, parseGroupBy } from "../../views/groups.ts";
import { defineCommand, flag, type Invocation, option, optionWithDefault } from "../command.ts";
import { Live, pause } from "../live.ts";
import { jsonHeader, notice, openSink } from "../output.ts";
import { usageError } from "../parse.ts";
import { resolveTarget, targetOptions } from "../target.ts";
import { wholeNumber } from "../whole-number.ts";

const options = {
  ...targetOptions,
  interval: optionWithDefault<number>(
    "--interval <duration>",
    "between two snapshots of a live process",
    30,
    parseDuration,
  ),
  count: optionWithDefault<number>("--count <n>", "snapshots of a live process", 2, (text) =>
    wholeNumber(text, "--count", 2),
  ),
  group: option<GroupBy>(
    "--group <what>",
    "compare by creator (the go statement; default), start, current, reason, state, stack or label:KEY",
    (text) => parseGroupBy(text),
  ),
  failOnGrowth: option<number>("--fail-on-growth <n>", "exit with 6 if a group grew by n or more", (text) =>
    wholeNumber(text, "--fail-on-growth", 1),
  ),
  limit: optionWithDefault<number>("--limit <n>", "rows of text", 40, (text) => wholeNumber(text, "--limit", 1)),
  fullNames: flag("--full-names", "whole function names, with their packages' paths"),
  type: option<string>("--type <name>", "for profiles: the sample type to compare"),
  json: flag("--json", "print JSON"),
};

export const command = defineCommand({
  name: "diff",
  operands: "[before] [after]",
  description:
    "Compares two snapshots of goroutines and names the groups that grew, shrank, are new or gone: the leak finder.\n" +
    "Each file is a dump of procscope (text or JSON), a saved /debug/pprof/goroutine (debug=1 or 2) or a log with a\n" +
    "SIGQUIT traceback, gzipped or not; with --pid, snapshots are taken of the running process. Two profiles (pprof,\n" +
    ".cpuprofile, …) are compared by function.",
  options,
  schema: "procscope/diff/1",
  examples: [
    ["procscope diff --pid 4711 --interval 10s", "which go statement leaks, within 10 seconds"],
    ["procscope diff monday.txt.gz tuesday.txt.gz", "two saved dumps"],
    ["procscope diff --pid 4711 --interval 1m --count 5 --fail-on-growth 100", "for scripts: exit status 6 on growth"],
    ["procscope diff before.pb.gz after.pb.gz", "two profiles"],
  ],
  async run(invocation) {
    const live = isLive(invocation);
    const { operands } = invocation;
    if (live && operands.length > 0) throw usageError(command, "a live process and files cannot be compared");
    if (!live && operands.length !== 2)
      throw usageError(command, "two files are needed, or --pid, --name or -- COMMAND");
    if (!live && isProfile(operands[0]!) && isProfile(operands[1]!)) return diffProfileFiles(invocation);
    const difference = live ? await liveDifference(invocation) : fileDifference(invocation);
    if (!difference) return exitStatus.interrupted;
    print(difference, invocation);
    const limit = invocation.options.failOnGrowth;
    return limit !== undefined && largestGrowth(difference) >= limit ? exitStatus.conditionMet : exitStatus.ok;
  },
});

type DiffInvocation = Invocation<typeof options>;

function isLive({ options, program }: DiffInvocation): boolean {
  return options.pid !== undefined || options.name !== undefined || program !== undefined;
}

function readBytes(path: string): Buffer {
  try {
    return readFileSync(path === "-" ? 0 : path);
  } catch (error) {
    throw new ProcscopeError("UNREADABLE", `cannot read ${path}: ${errnoOf(error) ?? error}`, { cause: error });
  }
}

function isProfile(path: string): boolean {
  // Standard input can be read once only; two files are compared, so it is a dump's.
  if (path === "-") return false;
  const bytes = readBytes(path);
  return !looksLikeDump(bytes) && looksLikeProfile(bytes);
}

function fileDifference({ options, operands }: DiffInvocation): Difference {
  const [before, after] = operands as [string, string];
  const grouped = [before, after].map((path) =>
    groupSnapshot(path === "-" ? parseDump(readBytes(path), "standard input") : readDumpFile(path), {
      by: options.group,
    }),
  );
  return compareGrouped(grouped, options.group);
}

/** Undefined where it was interrupted before there were two snapshots. */
async function liveDifference(invocation: DiffInvocation): Promise<Difference | undefined> {
  const { options, signal } = invocation;
  await using target = await resolveTarget(invocation, false);
  using live = await Live.open(target);
  const stacks = options.group?.kind === "stack" || options.group?.kind === "current";
  const snapshots: GroupedSnapshot[] = [];
  const by = options.group;
  for (let i = 0; i < options.count; i++) {
    if (i > 0) await pause(options.interval, signal, target.ended);
    if (signal.aborted && snapshots.length > 1) break;
    if (signal.aborted) return undefined;
    snapshots.push(groupSnapshot(live.snapshot(stacks), { by }));
    if (process.stderr.isTTY && i < options.count - 1) {
      notice(`snapshot ${i + 1} of ${options.count}: ${snapshots.at(-1)!.total} goroutines`);
    }
  }
  return compareGrouped(snapshots, by);
}

function print(difference: Difference, { options }: DiffInvocation): void {
  const sink = openSink();
  if (!options.json) {
    sink.write(differenceText(difference, options.limit, options.fullNames));
    return;
  }
  const { by, before, after, seconds, snapshots, changes, unchanged } = difference;
  const kind = by.kind === "label" ? `label:${by.key}` : by.kind;
  const header = jsonHeader("procscope/diff/1", { group: kind, snapshots, seconds, before, after, unchanged });
  const rows = changes.map(({ key: _key, oldestWait, ...change }) => ({
    ...change,
    place: plainPlace(change.place),
    start: plainPlace(change.start),
    ...(oldestWait < 0 ? {} : { oldestWaitSeconds: oldestWait }),
  }));
  sink.write(`${JSON.stringify({ ...header, changes: rows })}\n`);
}

function diffProfileFiles({ options, operands }: DiffInvocation): number {
  const [before, after] = operands.map((path) => decodeProfile(readBytes(path), path)) as [Profile, Profile];
  const diff = diffProfiles(before, after, { type: options.type });
  const sink = openSink();
  if (options.json)
    sink.write(`${JSON.stringify({ ...jsonHeader("procscope/diff/1", { group: "profile" }), ...diff })}\n`);
  else sink.write(diffText(diff, options.limit));
  const growth = diff.changes.reduce((most, one) => Math.max(most, one.flatAfter - one.flatBefore), 0);
  return options.failOnGrowth !== undefined && growth >= options.failOnGrowth ? exitStatus.conditionMet : exitStatus.ok;
}
