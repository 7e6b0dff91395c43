/**
 * Profiles: node dist/bench/profile.js [graph] [million]. One JSON line each.
 *
 * - graph: a call graph's PDF beside go tool pprof -pdf of the same file (needs go and Graphviz's dot; ours neither).
 * - million: 1,000,000 samples through `procscope convert`, from pprof and from .cpuprofile, to each format.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../src/base/package-root.ts";
import { ProfileBuilder } from "../src/profile/builder.ts";
import { callGraph } from "../src/profile/call-graph.ts";
import { encoderFor, encoders } from "../src/profile/encoders.ts";
import type { Profile } from "../src/profile/model.ts";
import { decodeProfile } from "../src/profile/readers.ts";
import { cliPath } from "../test/support/cli.ts";

const work = mkdtempSync(join(tmpdir(), "procscope-bench-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));

function report(line: Record<string, unknown>): void {
  console.log(JSON.stringify(line));
}

function at(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

interface Cost {
  readonly milliseconds: number;
  /** CPU time: what is left of the milliseconds when others use the machine. */
  readonly cpuMilliseconds: number;
  readonly megabytes: number;
}

/** Time and peak memory of `procscope convert`, asked of the process itself at its end. */
function convert(input: string, output: string): Cost {
  const teller = `process.on("exit",()=>{const{maxRSS,userCPUTime,systemCPUTime}=process.resourceUsage();process.stderr.write("\\nUSED "+maxRSS+" "+(userCPUTime+systemCPUTime))})`;
  const begun = performance.now();
  const words = ["--import", `data:text/javascript,${teller}`, cliPath, "convert", input, output];
  const ran = spawnSync(process.execPath, words, { encoding: "utf8" });
  const milliseconds = Math.round(performance.now() - begun);
  if (ran.status !== 0) throw new Error(ran.stderr);
  const [, kilobytes, microseconds] = /USED (\d+) (\d+)/.exec(ran.stderr) ?? [];
  return {
    milliseconds,
    cpuMilliseconds: Math.round(Number(microseconds) / 1e3),
    megabytes: Math.round(Number(kilobytes) / 1024),
  };
}

async function write(profile: Profile, path: string): Promise<void> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of encoderFor(path).encode(profile)) chunks.push(Buffer.from(chunk));
  writeFileSync(path, Buffer.concat(chunks));
}

async function graph(): Promise<void> {
  const raw = join(work, "app.cpuprofile");
  const target = join(packageRoot, "targets/profiled/work.cjs");
  execFileSync(process.execPath, [
    "--cpu-prof",
    "--cpu-prof-dir",
    work,
    "--cpu-prof-name",
    "app.cpuprofile",
    target,
    "2000",
  ]);
  const input = join(work, "app.pb.gz");
  convert(raw, input);
  const ours: number[] = [];
  const theirs: number[] = [];
  let theirPdf = Buffer.alloc(0);
  for (let round = 0; round < 7; round++) {
    ours.push(convert(input, join(work, "app.pdf")).milliseconds);
    const begun = performance.now();
    theirPdf = execFileSync("go", ["tool", "pprof", "-pdf", input], { stdio: ["ignore", "pipe", "ignore"] });
    theirs.push(Math.round(performance.now() - begun));
  }
  const profile = decodeProfile((await import("node:fs")).readFileSync(input));
  const dot = execFileSync("go", ["tool", "pprof", "-dot", input], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  report({
    name: "profile-call-graph-pdf",
    ours: { medianMs: at(ours, 0.5), minMs: at(ours, 0), bytes: statSync(join(work, "app.pdf")).size },
    peer: { name: "go tool pprof -pdf", medianMs: at(theirs, 0.5), minMs: at(theirs, 0), bytes: theirPdf.length },
    ratio: at(ours, 0.5) / at(theirs, 0.5),
    nodes: callGraph(profile, profile.defaultType).nodes.length,
    peerNodes: (dot.match(/^N\d+ \[label=/gm) ?? []).length,
    goal: "same nodes; no Go and no Graphviz needed",
  });
}

/** 1,000,000 samples with times; `spread` decides how many different stacks they have. */
function million(spread: number): Profile {
  const cpu = { type: "cpu", unit: "nanoseconds" };
  const sampleTypes = [{ type: "samples", unit: "count" }, cpu];
  const builder = new ProfileBuilder({ sampleTypes, periodType: cpu, period: 1e6, durationNanos: 1e12, timed: true });
  let seed = 1;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >> 8) % below;
  };
  const locations = Array.from({ length: 5000 }, (_, i) => {
    const fn = builder.function(
      `example.com/service/package${i % 50}.(*Type${i % 200}).Method${i}`,
      `/src/package${i % 50}/file${i % 300}.go`,
      i + 1,
    );
    return builder.location(fn, i + 3);
  });
  const stack = new Int32Array(64);
  for (let i = 0; i < 1e6; i++) {
    const depth = 15 + random(30);
    for (let j = 0; j < depth; j++) {
      const branch = j < spread ? random(2) : j > depth - 3 ? random(spread * 3) : 0;
      stack[depth - 1 - j] = locations[(j * 97 + branch) % 5000]!;
    }
    const labels = builder.labels([{ key: "request", number: i % 1000, unit: "" }]);
    builder.add(builder.stack(stack, depth), [1, 1e6], labels, i * 1e6);
  }
  return builder.finish();
}

async function millions(): Promise<void> {
  for (const [name, spread] of [
    ["usual", 3],
    ["many stacks", 12],
  ] as const) {
    const profile = million(spread);
    for (const source of ["pprof", "cpuprofile"]) {
      const input = join(work, source === "pprof" ? "million.pb.gz" : "million.cpuprofile");
      await write(profile, input);
      for (const encoder of encoders) {
        const output = join(work, `out${encoder.extensions[0]}`);
        const cost = convert(input, output);
        report({
          name: "profile-million-samples",
          shape: name,
          stacks: profile.stacks.count - 1,
          from: source,
          to: encoder.name,
          ours: {
            ms: cost.milliseconds,
            cpuMs: cost.cpuMilliseconds,
            maxRssMiB: cost.megabytes,
            bytes: statSync(output).size,
          },
          goal: "< 5000 ms, < 500 MiB",
          met: cost.milliseconds < 5000 && cost.megabytes < 500,
        });
      }
    }
  }
}

const parts: Record<string, () => Promise<void>> = { graph, million: millions };
const wanted = process.argv.slice(2);
for (const [name, run] of Object.entries(parts)) if (wanted.length === 0 || wanted.includes(name)) await run();
