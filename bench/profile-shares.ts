/**
 * CPU profiles of one busy Go program taken at the same time by procscope, by the program's own /debug/pprof/profile and
 * by `perf record -g`: the shares of the 20 largest functions, and how many samples in functions that only one function
 * calls lack that caller.
 *
 *     node dist/bench/profile-shares.js [seconds] [mode]
 */
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { callGraph } from "../src/profile/call-graph.ts";
import type { Profile } from "../src/profile/model.ts";
import { decodeProfile } from "../src/profile/readers.ts";
import { cliPath } from "../test/support/cli.ts";
import { build, type Mode, startHttp } from "../test/support/go-target.ts";
import { currentGo } from "../test/support/go-toolchain.ts";

const run = promisify(execFile);
const seconds = process.argv[2] ?? "10";
const mode = (process.argv[3] ?? "cgo") as Mode;

/** Functions that only one function calls, and that one. */
const onlyCallers: Record<string, string> = {
  "main.leafOnly": "main.leafCaller",
  "main.inlining": "main.work",
  "main.leafCaller": "main.work",
};

async function main(): Promise<void> {
  const target = await startHttp(await build(currentGo, mode, "busy"));
  const folder = mkdtempSync(join(tmpdir(), "procscope-bench-"));
  try {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const [ours, own, perf] = await takeAll(target, folder);
    const top = [...shares(own!)]
      .sort((a, b) => b[1] - a[1])
      .slice(0, 20)
      .map(([name]) => name);
    console.log(
      JSON.stringify({
        name: `cpu profile: shares of the 20 largest functions, ${mode}`,
        ours: differences(shares(ours!), shares(own!), top),
        peer: differences(shares(perf!), shares(own!), top),
        ratio:
          "largest and mean difference from the program's own profile, in percentage points of all samples; peer is perf record -g",
        goal: "as near to it as two runs of itself are to each other",
        functions: Object.fromEntries(
          top.map((name) => [
            name,
            [shares(ours!).get(name) ?? 0, shares(own!).get(name) ?? 0, shares(perf!).get(name) ?? 0].map(round),
          ]),
        ),
      }),
    );
    for (const [leaf, caller] of Object.entries(onlyCallers)) {
      console.log(
        JSON.stringify({
          name: `samples in ${leaf} that lack ${caller}`,
          ours: lacking(ours!, leaf, caller),
          peer: lacking(perf!, leaf, caller),
          own: lacking(own!, leaf, caller),
          goal: "< 1 %",
        }),
      );
    }
  } finally {
    await target.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function takeAll(target: { pid: number; url: string }, folder: string): Promise<Profile[]> {
  const perfData = join(folder, "perf.data");
  const perf = spawn(
    "perf",
    [
      "record",
      "-q",
      "-g",
      "-e",
      "cpu-clock",
      "-F",
      "99",
      "-p",
      String(target.pid),
      "-o",
      perfData,
      "--",
      "sleep",
      seconds,
    ],
    { stdio: "ignore" },
  );
  const perfEnded = new Promise((resolve) => perf.once("exit", resolve));
  const out = join(folder, "ours.pb.gz");
  const [, response] = await Promise.all([
    run(process.execPath, [cliPath, "profile", "--pid", String(target.pid), "-d", seconds, "-o", out]).then(
      ({ stderr }) => process.stderr.write(stderr),
    ),
    fetch(`${target.url}/debug/pprof/profile?seconds=${seconds}`).then((answer) => answer.arrayBuffer()),
  ]);
  await perfEnded;
  const { stdout } = await run("perf", ["script", "-i", perfData], { maxBuffer: 1 << 30 });
  return [
    decodeProfile(readFileSync(out), "ours"),
    decodeProfile(Buffer.from(response), "own"),
    decodeProfile(Buffer.from(stdout), "perf.txt"),
  ];
}

/** Cumulative share by function, the runtime's entry points left out as pprof does. */
function shares(profile: Profile): Map<string, number> {
  const graph = callGraph(profile, profile.defaultType, { nodeCount: Number.POSITIVE_INFINITY });
  return new Map(graph.nodes.map((node) => [plain(node.name), (100 * node.cumulative) / graph.total]));
}

/** perf prints linker's names: shapes of type arguments are shortened as the runtime does. */
function plain(name: string): string {
  return name.includes("[") ? name.replace(/\[.*\]/, "[...]") : name;
}

function differences(
  mine: Map<string, number>,
  truth: Map<string, number>,
  names: readonly string[],
): { largest: number; mean: number } {
  const all = names.map((name) => Math.abs((mine.get(name) ?? 0) - (truth.get(name) ?? 0)));
  return { largest: round(Math.max(...all)), mean: round(all.reduce((a, b) => a + b, 0) / all.length) };
}

/** The part of the samples whose innermost function is `leaf` that do not have `caller` next, in percent. */
function lacking(profile: Profile, leaf: string, caller: string): { samples: number; lacking: number } {
  let all = 0;
  let without = 0;
  const counts = profile.samples.values[0]!;
  for (let i = 0; i < profile.samples.count; i++) {
    const names = namesOf(profile, profile.samples.stack[i]!);
    const at = names.findIndex((name) => plain(name) === leaf);
    if (at !== 0) continue;
    all += counts[i]!;
    if (plain(names[1] ?? "") !== caller) without += counts[i]!;
  }
  return { samples: all, lacking: round((100 * without) / Math.max(1, all)) };
}

function namesOf(profile: Profile, stack: number): string[] {
  const names: string[] = [];
  const { locations, functions, stacks } = profile;
  for (let at = stack; at > 0; at = stacks.parent[at]!) {
    const location = stacks.location[at]!;
    for (let line = locations.firstLine[location]!; line < locations.firstLine[location + 1]!; line++)
      names.push(functions.name[locations.lineFunction[line]!]!);
  }
  return names;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

await main();
