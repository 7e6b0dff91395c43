import { parseDuration } from "../../base/duration.ts";
import { exitStatus, ProcscopeError } from "../../base/errors.ts";
import { monotonicNow } from "../../go/snapshot.ts";
import { ConditionWatch, parseCondition, type WatchReading } from "../../views/watch-conditions.ts";
import { defineCommand, flag, type Invocation, optionWithDefault, repeated } from "../command.ts";
import { DumpFolder } from "../dump-folder.ts";
import { Live, pause } from "../live.ts";
import { jsonHeader, notice, openSink } from "../output.ts";
import { usageError } from "../parse.ts";
import { notifyService } from "../service-notify.ts";
import { resolveTarget, targetOptions } from "../target.ts";
import { wholeNumber } from "../whole-number.ts";

const options = {
  ...targetOptions,
  when: repeated("--when <condition>", "'goroutines>5000', 'growth>100/min' or 'wait>10m'; several: any of them"),
  interval: optionWithDefault<number>("--interval <duration>", "between two looks", 5, parseDuration),
  refresh: { flags: "--refresh <duration>", help: "alias of --interval", parse: parseDuration, aliasOf: "interval" },
  output: optionWithDefault<string>("-o, --output <dir>", "where dumps are written", ".", (text) => text),
  keep: optionWithDefault<number>("--keep <n>", "dumps kept; the oldest is removed", 5, (text) =>
    wholeNumber(text, "--keep", 1),
  ),
  atMostEvery: optionWithDefault<number>(
    "--at-most-every <duration>",
    "write no two dumps within this time",
    60,
    parseDuration,
  ),
  count: optionWithDefault<number>("--count <n>", "looks; 0 is no end", 0, (text) => wholeNumber(text, "--count", 0)),
  once: flag("--once", "end with status 6 after the first dump"),
  json: flag("--json", "print a line of JSON for each dump"),
};

type WatchInvocation = Invocation<typeof options>;

export const command = defineCommand({
  name: "watch",
  operands: "[pid]",
  description:
    "Looks at the goroutines of a process at intervals and writes a dump of all stacks at the moment a condition holds.\n" +
    "Dumps are readable by their owner only. Needs no terminal; SIGTERM ends it with status 0; tells a service manager\n" +
    "(NOTIFY_SOCKET) when it is ready. The runtime knows how long a goroutine waits from the next garbage collection\n" +
    "on, which it forces every two minutes.",
  options,
  schema: "procscope/watch/1",
  examples: [
    ["procscope watch --pid 4711 --when 'goroutines>5000'", "a dump when there are too many, at most one a minute"],
    ["procscope watch --pid 4711 --when 'growth>100/min' --when 'wait>10m' --keep 3 -o dumps", "either condition"],
    [
      "procscope watch --name '^api' --when 'goroutines>5000' --once && echo fine",
      "for scripts: status 6 when it held",
    ],
  ],
  async run(invocation) {
    const { when, output, keep } = invocation.options;
    if (when.length === 0) throw usageError(command, "no condition: --when is missing");
    const conditions = new ConditionWatch(when.map(parseCondition));
    await using target = await resolveTarget(invocation);
    using live = await Live.open(target);
    const folder = new DumpFolder(output, target.pid, keep);
    await notifyService(`READY=1\nSTATUS=watching process ${target.pid}: ${when.join(", ")}`);
    try {
      return await watch(invocation, conditions, live, folder, target.ended);
    } finally {
      await notifyService("STOPPING=1");
    }
  },
});

async function watch(
  { options, signal }: WatchInvocation,
  conditions: ConditionWatch,
  live: Live,
  folder: DumpFolder,
  ended: Promise<void> | undefined,
): Promise<number> {
  let lastDump = Number.NEGATIVE_INFINITY;
  for (let look = 1; !signal.aborted; look++) {
    const now = monotonicNow() / 1e9;
    const reading = conditions.read(live.snapshot(false), now);
    if (reading.met.length > 0 && now - lastDump >= options.atMostEvery) {
      lastDump = now;
      dump(reading, live, folder, options);
      if (options.once) return exitStatus.conditionMet;
    }
    if (look === options.count) break;
    await pause(options.interval, signal, ended);
  }
  return exitStatus.ok;
}

function dump(
  reading: WatchReading,
  live: Live,
  folder: DumpFolder,
  { json, once }: Pick<WatchInvocation["options"], "json" | "once">,
): void {
  try {
    tell(reading, folder.write(live.text(), new Date()), live, json);
  } catch (error) {
    // A disk that is full now may have room at the next dump: the watch goes on.
    if (once || !(error instanceof ProcscopeError) || error.code !== "IO") throw error;
    notice(`procscope: ${error.message}`);
  }
}

function tell({ goroutines, met }: WatchReading, file: string, live: Live, json: boolean): void {
  const { pid, version } = live.process.info;
  if (!json) {
    openSink().write(`${new Date().toISOString()} ${met.map((one) => one.what).join("; ")}: wrote ${file}\n`);
    return;
  }
  const header = jsonHeader("procscope/watch/1", { pid, goVersion: version.text });
  const conditions = met.map(({ condition, what }) => ({ condition: condition.text, what }));
  openSink().write(`${JSON.stringify({ ...header, goroutines, conditions, file })}\n`);
}
