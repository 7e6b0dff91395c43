import { basename } from "node:path";
import { parseDuration } from "../../base/duration.ts";
import { exitStatus, ProcscopeError } from "../../base/errors.ts";
import type { Pid, Seconds } from "../../base/units.ts";
import { keepMemorySmall } from "../../kernel/malloc.ts";
import { readProcStatus } from "../../kernel/proc-status.ts";
import { encoderFor } from "../../profile/encoders.ts";
import type { Profile } from "../../profile/model.ts";
import { Recorder, type RecorderOptions, type RecordingKind, type RecordingReport } from "../../sampling/recorder.ts";
import { attachIfGo } from "../attach-target.ts";
import { defineCommand, flag, type Invocation, option, optionWithDefault, repeated } from "../command.ts";
import { jsonHeader, notice, openSink } from "../output.ts";
import { usageError } from "../parse.ts";
import { resolveTarget, type Target, targetOptions } from "../target.ts";

const samplingKinds = ["cpu", "wall", "both"] as const;
const runtimeKinds = ["heap", "allocs", "block", "mutex", "goroutine", "threadcreate"] as const;
type RuntimeKind = (typeof runtimeKinds)[number];

const options = {
  ...targetOptions,
  duration: optionWithDefault("-d, --duration <time>", "how long to sample", 10, parseDuration),
  seconds: { flags: "--seconds <time>", help: "alias of --duration", parse: parseDuration, aliasOf: "duration" },
  rate: optionWithDefault("-r, --rate <n>", "samples a second of each thread on a CPU", 99, parseRate),
  budget: optionWithDefault("--budget <percent>", "how much of one CPU wall sampling may take here", 5, parsePercent),
  output: option(
    "-o, --output <file>",
    "where the profile goes; its extension chooses the format (with --continuous: a folder)",
  ),
  user: flag("--user-only", "no kernel frames"),
  system: flag("--system", "in wall profiles also the runtime's own goroutines"),
  top: optionWithDefault("--top <n>", "functions in the table that is printed without -o", 20, parseCount),
  cumulative: flag("--cum", "order that table by cumulative time"),
  diff: option("--diff <file>", "print what grew and shrank against an earlier profile"),
  json: flag("--json", "what was recorded, as JSON"),
  continuous: flag("--continuous", "one profile an interval until interrupted"),
  interval: optionWithDefault("--interval <time>", "length of each profile with --continuous", 60, parseDuration),
  keep: optionWithDefault("--keep <n>", "how many files --continuous keeps", 60, parseCount),
  push: option("--push <url>", "send each profile to a server that takes them as Pyroscope does"),
  application: option("--application <name>", "the application's name there (default: the process's)"),
  label: repeated("--label <key=value>", "a label of what is pushed"),
};

type ProfileInvocation = Invocation<typeof options>;

export const command = defineCommand({
  name: "profile",
  operands: "[kind] [pid]",
  description:
    "Samples where a running process spends its time, with nothing prepared in it. Kinds:\n" +
    "  cpu (default)   threads on a CPU, by perf events: any process; Go stacks with inlined calls and goroutines\n" +
    "  wall            where all goroutines of a Go program are, waiting ones too, by reading its memory\n" +
    "  both            on-CPU from perf events, waiting from memory, in one profile with the state as a label\n" +
    "  heap, allocs, block, mutex, threadcreate, goroutine   what a Go runtime itself keeps, read from outside",
  options,
  examples: [
    ["procscope profile --pid 1234", "10 s of CPU, the top table"],
    ["procscope profile wall --pid 1234 -d 5s -o waits.html", "where goroutines wait, as a flame graph"],
    ["procscope profile both --pid 1234 -o all.pb.gz", "for go tool pprof; -tagfocus state=select"],
    ["procscope profile heap --pid 1234 -o heap.pdf", "what the runtime's memory profile says, as a call graph"],
    ["procscope profile -o cpu.svg -- ./server -x", "a program of our own starting, for 10 s or to its end"],
    ["procscope profile --pid 1234 --continuous --interval 60s --keep 60 -o profiles", "the last hour, always"],
  ],
  schema: "procscope/profile/1",
  async run(invocation) {
    const { kind, operands } = kindOf(invocation.operands);
    await using target = await resolveTarget({ ...invocation, operands });
    if (runtimeKinds.includes(kind as RuntimeKind)) {
      const { runtimeProfile } = await import("../runtime-profile.ts");
      return emit(await runtimeProfile(target, kind as RuntimeKind), undefined, target, kind, invocation);
    }
    using attached = await attachIfGo(target);
    const go = attached?.runtime;
    if (invocation.options.continuous) return continuous(kind as RecordingKind, target, go, invocation);
    const { profile, report } = await record(
      kind as RecordingKind,
      target,
      go,
      invocation,
      invocation.options.duration,
      true,
    );
    const status = await emit(profile, report, target, report.kind, invocation);
    return invocation.signal.aborted && report.duration < 0.05 ? exitStatus.interrupted : status;
  },
});

function kindOf(operands: readonly string[]): { kind: RecordingKind | RuntimeKind; operands: readonly string[] } {
  const [first, ...rest] = operands;
  if (first === undefined || /^\d+$/.test(first)) return { kind: "cpu", operands };
  const kind = [...samplingKinds, ...runtimeKinds].find((one) => one === first);
  if (!kind)
    throw usageError(
      { name: "profile" },
      `no such kind of profile: ${first}; one of ${[...samplingKinds, ...runtimeKinds].join(", ")}`,
    );
  return { kind, operands: rest };
}

async function record(
  kind: RecordingKind,
  target: Target,
  go: RecorderOptions["go"],
  { options, signal }: ProfileInvocation,
  seconds: Seconds,
  progress: boolean,
): Promise<{ profile: Profile; report: RecordingReport }> {
  const recorder = new Recorder({
    pid: target.pid,
    kind,
    rate: options.rate,
    budget: options.budget / 100,
    go,
    kernel: !options.user,
    userOnly: !options.system,
  });
  const began = Date.now();
  const timer = setInterval(() => {
    if (progress && process.stderr.isTTY) {
      process.stderr.write(
        `\r\x1b[K${Math.floor((Date.now() - began) / 1000)} of ${seconds} s, ${recorder.samples} samples; Ctrl-C ends and writes`,
      );
    }
  }, 250);
  try {
    await recorder.run(seconds, signal);
    return recorder.finish();
  } finally {
    recorder.close();
    clearInterval(timer);
    if (progress && process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  }
}

/** Writes the profile, or prints its table, and says on standard error how it was taken. */
async function emit(
  profile: Profile,
  report: RecordingReport | undefined,
  target: Target,
  kind: string,
  { options }: ProfileInvocation,
): Promise<number> {
  const title = `${kind} of ${nameOf(target.pid)}`;
  if (report) sayReport(report);
  if (options.diff !== undefined) return printDifference(profile, options.diff);
  if (options.output !== undefined) await writeProfile(profile, options.output, title);
  const sink = openSink();
  if (options.json)
    sink.write(
      `${JSON.stringify({ ...jsonHeader("procscope/profile/1", { pid: target.pid, kind }), output: options.output, report, top: await topJson(profile, options.top) })}\n`,
    );
  else if (options.output === undefined) {
    const { topText } = await import("../../profile/top.ts");
    sink.write(topText(profile, profile.defaultType, { title, count: options.top, cumulative: options.cumulative }));
  } else notice(`${options.output}: ${profile.samples.count} samples of ${profile.stacks.count - 1} stacks`);
  return exitStatus.ok;
}

async function writeProfile(profile: Profile, path: string, title: string): Promise<void> {
  const encoder = encoderFor(path);
  const sink = openSink(path);
  try {
    for await (const chunk of encoder.encode(profile, { title })) sink.write(chunk);
  } catch (error) {
    sink.discard();
    throw error;
  }
  sink.close();
}

async function printDifference(profile: Profile, path: string): Promise<number> {
  const { readProfile } = await import("./convert.ts");
  const { diffProfiles, diffText } = await import("../../profile/diff.ts");
  openSink().write(diffText(diffProfiles(readProfile(path), profile)));
  return exitStatus.ok;
}

async function topJson(profile: Profile, count: number): Promise<unknown> {
  const { callGraph } = await import("../../profile/call-graph.ts");
  const { topNodes } = await import("../../profile/top.ts");
  const graph = callGraph(profile, profile.defaultType, { nodeCount: Number.POSITIVE_INFINITY });
  const unit = profile.sampleTypes[profile.defaultType]?.unit;
  return {
    unit,
    total: graph.total,
    functions: topNodes(graph)
      .slice(0, count)
      .map(({ name, flat, cumulative }) => ({ name, flat, cumulative })),
  };
}

function sayReport(report: RecordingReport): void {
  for (const note of report.notes) notice(note);
  const { cpu, wall } = report;
  if (cpu) {
    const goroutines =
      cpu.goSamples > 0
        ? `; goroutine known for ${percent(cpu.goroutineKnown, cpu.goSamples)} of ${cpu.goSamples} samples on goroutines, ${cpu.schedulerSamples} in the scheduler`
        : "";
    const repaired = cpu.repaired > 0 ? `, ${cpu.repaired} callers put back` : "";
    notice(
      `cpu: ${cpu.samples} samples in ${report.duration.toFixed(1)} s (perf events, ${cpu.mode}, ${cpu.kernel ? "kernel and user" : "user mode only"}), ` +
        `${cpu.lost} lost, ${cpu.throttled} throttled${repaired}, ${cpu.cut} stacks cut${cpu.cutAtSwitch > 0 ? `, ${cpu.cutAtSwitch} at a change of stacks` : ""}${goroutines}`,
    );
  }
  if (wall) {
    notice(
      `wall: ${wall.samples} samples of ${wall.goroutines} goroutines (${wall.achievedRate.toFixed(1)} a second reached), ` +
        `${wall.inconsistent} of ${wall.readings} readings moved while they were read`,
    );
  }
  notice(`procscope itself: ${((100 * report.ownCpu) / report.duration).toFixed(1)} % of a CPU`);
}

/** One profile an interval, into a folder and to a server, until interrupted or the process ends. */
async function continuous(
  kind: RecordingKind,
  target: Target,
  go: RecorderOptions["go"],
  invocation: ProfileInvocation,
): Promise<number> {
  const { options, signal } = invocation;
  if (options.output === undefined && options.push === undefined)
    throw usageError({ name: "profile" }, "--continuous needs a folder (-o DIR) or --push URL");
  keepMemorySmall();
  const { ProfileRotation } = await import("../../sampling/rotation.ts");
  const { ProfilePusher } = await import("../../sampling/push.ts");
  const { encodePprof } = await import("../../profile/pprof.ts");
  const name = nameOf(target.pid);
  const rotation =
    options.output === undefined
      ? undefined
      : new ProfileRotation(options.output, `${kind}-${target.pid}-`, ".pb.gz", options.keep);
  const labels = { ...parseLabels(options.label), pid: String(target.pid) };
  const pusher =
    options.push === undefined
      ? undefined
      : new ProfilePusher({ url: options.push, application: options.application ?? commandName(target.pid), labels });
  while (!signal.aborted) {
    const from = Date.now() / 1000;
    const { profile, report } = await record(kind, target, go, invocation, options.interval, false);
    const bytes = encodePprof(profile);
    const path = await rotation?.write(once(bytes), new Date());
    const counts = await pusher?.push(bytes, from, Date.now() / 1000);
    const pushed = counts
      ? `; pushed ${counts.sent}, waiting ${counts.queued}, dropped ${counts.dropped}${counts.lastError ? ` (${counts.lastError})` : ""}`
      : "";
    notice(
      `${path ?? name}: ${(report.cpu?.samples ?? 0) + (report.wall?.samples ?? 0)} samples, ${report.cpu?.lost ?? 0} lost${pushed}`,
    );
    if (report.duration < options.interval * 0.9 && !signal.aborted) {
      throw new ProcscopeError(
        "NO_PROCESS",
        `process ${target.pid} exited; the last profile covers ${report.duration.toFixed(1)} s`,
      );
    }
  }
  return exitStatus.ok;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function parseLabels(words: readonly string[]): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const word of words) {
    const match = /^([A-Za-z_][A-Za-z0-9_]*)=([^,{}"]*)$/.exec(word);
    if (!match) throw usageError({ name: "profile" }, `not a label: ${word}; write key=value`);
    labels[match[1]!] = match[2]!;
  }
  return labels;
}

function nameOf(pid: Pid): string {
  return `${commandName(pid)} (pid ${pid})`;
}

function commandName(pid: Pid): string {
  try {
    return basename(readProcStatus(pid).name);
  } catch {
    return "process";
  }
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(1)} %`;
}

function parseRate(text: string): number {
  const rate = Number(text);
  if (!(rate > 0 && rate <= 20_000))
    throw new ProcscopeError("USAGE", `not a rate: ${text}`, { hint: "between 1 and 20000 samples a second" });
  return rate;
}

function parsePercent(text: string): number {
  const value = Number(text.replace(/%$/, ""));
  if (!(value > 0 && value <= 100))
    throw new ProcscopeError("USAGE", `not a share of a CPU: ${text}`, { hint: "between 0.1% and 100%" });
  return value;
}

function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new ProcscopeError("USAGE", `not a count: ${text}`);
  return Number(text);
}
