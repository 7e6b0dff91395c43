import { parseDuration } from "../../base/duration.ts";
import { exitStatus, ProcscopeError } from "../../base/errors.ts";
import type { Pid } from "../../base/units.ts";
import { type GroupBy, parseGroupBy } from "../../views/groups.ts";
import { choice, defineCommand, flag, type Invocation, option, optionWithDefault } from "../command.ts";
import { Live, pause } from "../live.ts";
import { jsonHeader, openSink } from "../output.ts";
import { usageError } from "../parse.ts";
import { resolveTarget, type Target, targetOptions } from "../target.ts";
import { wholeNumber } from "../whole-number.ts";

const count = (text: string): number => wholeNumber(text, "--count", 0);

const options = {
  ...targetOptions,
  interval: optionWithDefault<number>("-i, --interval <duration>", "between two looks", 2, parseInterval),
  refresh: { flags: "--refresh <duration>", help: "alias of --interval", parse: parseInterval, aliasOf: "interval" },
  count: optionWithDefault<number>("--count <n>", "looks; 0 is no end", 0, count),
  iterations: { flags: "--iterations <n>", help: "alias of --count", parse: count, aliasOf: "count" },
  group: option<GroupBy>("--group <what>", "start (default), current, creator, reason, resource or label:KEY", (text) =>
    parseGroupBy(text),
  ),
  pc: choice("--pc <place>", "as gospy has it: group by start, caller (creator) or current function", [
    "start",
    "caller",
    "current",
  ]),
  limit: optionWithDefault<number>("--limit <n>", "groups in a JSON record", 50, (text) =>
    wholeNumber(text, "--limit", 1),
  ),
  cpu: flag("--cpu", "functions by CPU time instead of goroutines; of any process"),
  rate: optionWithDefault<number>("--rate <n>", "with --cpu: samples a second of each running thread", 99, (text) =>
    wholeNumber(text, "--rate", 1),
  ),
  json: flag("--json", "print a line of JSON for each look, as without a terminal"),
  nonBlocking: flag("--non-blocking", "accepted for users of gospy: no target is ever paused"),
};

type TopInvocation = Invocation<typeof options>;

export const command = defineCommand({
  name: "top",
  operands: "[pid]",
  description:
    "Shows the goroutines of a running Go process by function on a full screen, largest group first, with what changed\n" +
    "since the start. Without a process: all Go processes. The target is not stopped. h shows the keys.\n" +
    "Where standard output is no terminal, or with --json, one line of JSON is printed for each look.",
  options,
  schema: "procscope/top/1",
  examples: [
    ["procscope top --pid 4711", "its goroutines, every 2 seconds"],
    ["procscope top", "all Go processes; Enter goes into one"],
    ["procscope top --interval 1s -- ./server -port 8080", "a program that is started, and ended with the view"],
    ["procscope top --cpu --pid 4711", "its functions by CPU time"],
    ["procscope top --pid 4711 --count 10 --json > goroutines.ndjson", "ten looks for a script"],
  ],
  async run(invocation) {
    const { options, signal } = invocation;
    const screen = !options.json && process.stdout.isTTY === true && process.stdin.isTTY === true;
    if (options.cpu && !namesTarget(invocation)) throw usageError({ name: "top" }, "--cpu needs a process");
    if (!namesTarget(invocation)) return screen ? allProcesses(invocation) : listProcesses(invocation);
    await using target = await resolveTarget(invocation);
    if (options.cpu) {
      const { topCpu } = await import("../top/run-cpu.ts");
      return await topCpu(target, { ...options, signal, screen });
    }
    using live = await Live.open(target);
    // Awaited here: the target is given back when this function returns.
    if (!screen) return await records(invocation, live, target);
    const { runTop } = await import("../top/run-top.ts");
    const { interval, count } = options;
    return await runTop(live, { interval, count, signal, ended: target.ended, by: grouping(invocation) });
  },
});

function namesTarget({ options, operands, program }: TopInvocation): boolean {
  return options.pid !== undefined || options.name !== undefined || program !== undefined || operands.length > 0;
}

function grouping({ options }: TopInvocation): GroupBy {
  if (options.group) return options.group;
  return { kind: options.pc === "caller" ? "creator" : (options.pc ?? "start") };
}

/** Shorter intervals would make the inspector what is seen. Throws USAGE. */
function parseInterval(text: string): number {
  const seconds = parseDuration(text);
  if (seconds >= 0.05) return seconds;
  throw new ProcscopeError("USAGE", `an interval of ${text} is too short`, { hint: "the least is 50ms" });
}

async function records(invocation: TopInvocation, live: Live, target: Target): Promise<number> {
  const { options, signal } = invocation;
  const { Recorder } = await import("../top/records.ts");
  const { resourcesOf } = await import("../top/resources.ts");
  const sink = openSink();
  const recorder = new Recorder(live, {
    by: grouping(invocation),
    limit: options.limit,
    resources: resourcesOf,
  });
  for (let look = 1; !signal.aborted; look++) {
    sink.write(recorder.record(options.interval));
    if (look === options.count) return exitStatus.ok;
    await pause(options.interval, signal, target.ended);
  }
  return exitStatus.interrupted;
}

async function listProcesses({ options, signal }: TopInvocation): Promise<number> {
  const { ProcessTable } = await import("../top/process-table.ts");
  using table = new ProcessTable();
  const sink = openSink();
  for (let look = 1; !signal.aborted; look++) {
    const processes = table.read();
    sink.write(`${JSON.stringify({ ...jsonHeader("procscope/top/1", {}), interval: options.interval, processes })}\n`);
    if (look === options.count) return exitStatus.ok;
    await pause(options.interval, signal);
  }
  return exitStatus.interrupted;
}

/** The list of processes; Enter shows one until it is left, or has exited, then the list again. */
async function allProcesses({ options, signal }: TopInvocation): Promise<number> {
  const { ProcessTable } = await import("../top/process-table.ts");
  const { ProcessScreen } = await import("../top/process-screen.ts");
  const { runTop, ScreenLoop } = await import("../top/run-top.ts");
  using table = new ProcessTable();
  for (;;) {
    let opened: Pid | undefined;
    const loop = new ScreenLoop({ interval: options.interval, count: options.count, signal });
    const screen = new ProcessScreen(
      {
        quit: () => loop.quit(),
        refresh: () => loop.refresh(),
        setInterval: (seconds) => loop.setInterval(seconds),
        open: (pid) => {
          opened = pid;
          loop.quit();
        },
      },
      options.interval,
    );
    await loop.run(screen, () => screen.update(table.read()));
    if (opened === undefined) return signal.aborted ? exitStatus.interrupted : exitStatus.ok;
    try {
      using live = await Live.open({ pid: opened, exe: undefined, ended: undefined, async [Symbol.asyncDispose]() {} });
      await runTop(live, { interval: options.interval, count: 0, signal, by: { kind: "start" } });
    } catch (error) {
      // It has exited, or may not be looked into, which its row in the list says.
      if (!(error instanceof ProcscopeError)) throw error;
    }
  }
}
