/**
 * Every series held against process-exporter's on the same processes: Debian's 0.7.10, whose metrics are those of 0.8.7.
 * Each difference must be in one of the two tables; each entry that this load provokes must be seen.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { sourceNames } from "../../src/proc/sources/open.ts";
import {
  Folder,
  freePort,
  type RunningProgram,
  samplesOf,
  scrape,
  startExporter,
  startListening,
  typesOf,
} from "./running.ts";

interface Difference {
  readonly series: RegExp;
  readonly why: string;
  /** Whether this test's load shows it. */
  readonly shown: boolean;
}

/** Bugs of process-exporter that procscope does not have. */
const fixedBugs: readonly Difference[] = [
  {
    series: /_states\{groupname="(many|busy)"/,
    why: "the main thread of a process of several threads is counted twice",
    shown: true,
  },
  { series: /_threads_wchan\{groupname="(many|busy)"/, why: "the same for what it waits in", shown: true },
  {
    series: /_oldest_start_time_seconds\{groupname="ending"\}/,
    why: "a group without processes has no start time",
    shown: true,
  },
  {
    series: /^namedprocess_scrape_partial_errors$/,
    why: "kernel threads, which have no smaps, are no errors",
    shown: false,
  },
  {
    series: /^namedprocess_scrape_procread_errors$/,
    why: "a process that ends while it is read is no error",
    shown: false,
  },
  {
    series: /_thread_(cpu|io|context|major|minor).*groupname="many"/,
    why: "a thread that started since the last scan counts from its start",
    shown: false,
  },
];

/** What changed between 0.7.10 and 0.8.7, or is of the exporter's own process and language. */
const changes: readonly Difference[] = [
  { series: /^process_exporter_build_info/, why: "its own version; label tags since 0.8", shown: true },
  { series: /^process_(?!exporter)/, why: "its own process", shown: true },
  { series: /^(go|promhttp)_/, why: "go_* belongs to targets and has a groupname label", shown: true },
  { series: /^procscope_/, why: "procscope's own", shown: true },
];

/** Of this run: another may be under way beside it. */
const tag = `procscope-compare-${process.pid}`;

const config = `
process_names:
  - {name: idle, cmdline: ["${tag}-idle"]}
  - {name: busy, cmdline: ["${tag}-busy"]}
  - {name: many, cmdline: ["${tag}-many"]}
  - {name: ending, cmdline: ["${tag}-ending"]}
`;

/** On SIGUSR2: 0.4 s of CPU, 1 MiB written and synced. */
const busy = `
const fs = require("fs");
process.on("SIGUSR2", () => {
  const begin = process.cpuUsage();
  for (;;) { const { user, system } = process.cpuUsage(begin); if (user + system > 400_000) break; }
  const file = process.argv[2]; const fd = fs.openSync(file + ".part", "w"); fs.writeSync(fd, Buffer.alloc(1 << 20)); fs.fsyncSync(fd); fs.closeSync(fd);
  fs.renameSync(file + ".part", file);
});
setInterval(() => {}, 1 << 30);`;

describe("compared with process-exporter", () => {
  const folder = new Folder();
  const children: ChildProcess[] = [];
  let theirs: RunningProgram;

  const start = (program: string, ...words: string[]): ChildProcess => {
    const child = spawn(program, words, { stdio: "ignore" });
    children.push(child);
    return child;
  };
  /** A program that waits, under a name that the configuration knows. */
  const waiting = (marker: string): ChildProcess => start("bash", "-c", 'exec -a "$0" sleep 1000', marker);

  before(async () => {
    for (let i = 0; i < 3; i++) start("sleep", "1000");
    waiting(`${tag}-idle`);
    waiting(`${tag}-idle`);
    const script = folder.file("busy.cjs", busy);
    start(process.execPath, "--single-threaded", script, `${folder.path}/written`, `${tag}-busy`);
    start(process.execPath, "-e", "setInterval(() => {}, 1 << 30)", `${tag}-many`);
    start(process.execPath, "-e", "setInterval(() => {}, 1 << 30)", `${tag}-many`);
    await delay(1500);
    const port = await freePort();
    const path = folder.file("g.yml", config);
    theirs = await startListening(
      "prometheus-process-exporter",
      ["-config.path", path, `-web.listen-address=127.0.0.1:${port}`],
      port,
    );
  });
  after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await theirs?.[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  for (const source of sourceNames) {
    it(`source ${source}: the same series with the same values, but for the named differences`, async (t) => {
      const words = [
        "-config.path",
        `${folder.path}/g.yml`,
        "--source",
        source,
        "--exits=off",
        "--go=off",
        "-gather-smaps",
      ];
      let ours: RunningProgram;
      try {
        ours = await startExporter(...words);
      } catch (error) {
        if (/PERMISSION|not allowed|UNSUPPORTED|CAP_/.test(String(error))) return t.skip(String(error).split("\n")[0]);
        throw error;
      }
      await using _ = ours;
      const ending = waiting(`${tag}-ending`);
      await delay(300);
      // Both see it live, then dead.
      await Promise.all([scrape(theirs.url), scrape(ours.url)]);
      const baseline = [samplesOf(await scrape(theirs.url)), samplesOf(await scrape(ours.url))] as const;
      ending.kill("SIGKILL");
      const worker = children.find((child) => child.spawnargs.includes(`${tag}-busy`))!;
      process.kill(worker.pid!, "SIGUSR2");
      for (let i = 0; i < 500 && !existsSync(`${folder.path}/written`); i++) await delay(20);
      rmSync(`${folder.path}/written`);
      await delay(300);
      await Promise.all([scrape(theirs.url), scrape(ours.url)]);
      const [theirText, ourText] = await Promise.all([scrape(theirs.url), scrape(ours.url)]);
      const after = [samplesOf(theirText), samplesOf(ourText)] as const;
      const differing = compare(baseline, after, [typesOf(theirText), typesOf(ourText)]);
      const all = [...fixedBugs, ...changes];
      const unnamed = differing.filter(({ series }) => !all.some((difference) => difference.series.test(series)));
      assert.deepEqual(unnamed, []);
      const notSeen = all.filter((d) => d.shown && !differing.some(({ series }) => d.series.test(series)));
      assert.deepEqual(
        notSeen.map((d) => d.why),
        [],
      );
      // Counted when they were first seen, so before the baseline.
      const partial = after.map((samples) => samples.get("namedprocess_scrape_partial_errors")!);
      assert.ok(partial[0]! > 0 && partial[1] === 0, `partial errors: ${partial}`);
      assert.equal(after[1].get("namedprocess_scrape_procread_errors"), 0);
      const cpu =
        growth(baseline[1], after[1], 'namedprocess_namegroup_cpu_seconds_total{groupname="busy",mode="user"}') +
        growth(baseline[1], after[1], 'namedprocess_namegroup_cpu_seconds_total{groupname="busy",mode="system"}');
      assert.ok(cpu > 0.25 && cpu < 0.6, `${cpu} s of CPU`);
      const written = growth(baseline[1], after[1], 'namedprocess_namegroup_write_bytes_total{groupname="busy"}');
      assert.ok(written >= 1 << 20, `${written} bytes written`);
    });
  }

  it("types and help of every family are the same", async () => {
    const text = await scrape(theirs.url);
    await using ours = await startExporter("-config.path", `${folder.path}/g.yml`, "-gather-smaps", "--exits=off");
    const head = (of: string): string[] =>
      [...of.matchAll(/^# (?:HELP|TYPE) namedprocess_.*$/gm)].map((m) => m[0]).sort();
    assert.deepEqual(head(await scrape(ours.url)), head(text));
  });

  it("promtool finds nothing wrong with our own metrics", async () => {
    await using ours = await startExporter("-config.path", `${folder.path}/g.yml`, "-gather-smaps");
    const text = await scrape(ours.url);
    let output = "";
    try {
      output = execFileSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8", stdio: "pipe" });
    } catch (error) {
      // It ends with a status above 0 for any finding, also for those of process-exporter's own names.
      output = String((error as { stdout: string }).stdout) + String((error as { stderr: string }).stderr);
    }
    assert.deepEqual(output.split("\n").filter(Boolean).sort(), [
      'namedprocess_namegroup_thread_count non-histogram and non-summary metrics should not have "_count" suffix',
      'namedprocess_scrape_errors counter metrics should have "_total" suffix',
      'namedprocess_scrape_partial_errors counter metrics should have "_total" suffix',
      'namedprocess_scrape_procread_errors counter metrics should have "_total" suffix',
    ]);
  });
});

type Samples = ReadonlyMap<string, number>;

function growth(before: Samples, after: Samples, series: string): number {
  return (after.get(series) ?? Number.NaN) - (before.get(series) ?? 0);
}

/** Series that only one has, or whose value (for counters: growth since the baseline) differs by more than its tolerance. */
function compare(
  baseline: readonly [Samples, Samples],
  after: readonly [Samples, Samples],
  types: readonly [ReadonlyMap<string, string>, ReadonlyMap<string, string>],
): { series: string; theirs: number | undefined; ours: number | undefined }[] {
  const differing: { series: string; theirs: number | undefined; ours: number | undefined }[] = [];
  for (const series of new Set([...after[0].keys(), ...after[1].keys()])) {
    const isCounter = types[0].get(series.split("{")[0]!) === "counter";
    const [theirs, ours] = [0, 1].map((i) => {
      const value = after[i]!.get(series);
      return value === undefined || !isCounter ? value : value - (baseline[i]!.get(series) ?? 0);
    });
    if (theirs === undefined || ours === undefined || Math.abs(theirs - ours) > tolerance(series, theirs)) {
      differing.push({ series, theirs, ours });
    }
  }
  return differing;
}

/** Two exporters look at different moments, and one of them counts CPU in ticks of 10 ms. */
function tolerance(series: string, value: number): number {
  if (series.includes("cpu_seconds")) return 0.06;
  if (series.includes("context_switches")) return 12;
  if (series.includes("page_faults")) return 40;
  if (series.includes("memory_bytes")) return Math.max(1 << 20, Math.abs(value) * 0.03);
  if (series.includes("_states") || series.includes("_wchan")) return 0;
  if (series.includes("oldest_start_time")) return 1;
  return Math.abs(value) * 1e-6;
}
