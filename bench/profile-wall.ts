/**
 * Sampling all goroutines from outside beside runtime.GoroutineProfile inside: milliseconds a sample at 1,000, 10,000
 * and 100,000 parked goroutines. Ours: every stack read, and steady state, where almost nothing moved.
 *
 *     node dist/bench/profile-wall.js
 */

import { GoroutineReader } from "../src/go/goroutine-reader.ts";
import { attach } from "../src/index.ts";
import { ProfileBuilder } from "../src/profile/builder.ts";
import { CodeMap } from "../src/sampling/code.ts";
import { GoCode } from "../src/sampling/go-code.ts";
import { WallSampler } from "../src/sampling/wall-sampler.ts";
import { build, GoTarget } from "../test/support/go-target.ts";
import { currentGo } from "../test/support/go-toolchain.ts";

const program = await build(currentGo, "strip");

for (const count of [1000, 10_000, 100_000]) {
  const target = await GoTarget.start(program);
  try {
    await target.ask(`park ${count}`);
    using process = attach(target.pid);
    const reader = new GoroutineReader(process.runtime);
    const first: number[] = [];
    const steady: number[] = [];
    for (let round = 0; round < 5; round++) {
      const builder = new ProfileBuilder({
        sampleTypes: [
          { type: "samples", unit: "count" },
          { type: "wall", unit: "nanoseconds" },
        ],
      });
      const sampler = new WallSampler({
        reader,
        builder,
        code: new CodeMap(builder, [new GoCode(reader.code)]),
        waitingOnly: false,
        userOnly: true,
      });
      first.push(timed(() => sampler.sample()));
      for (let i = 0; i < 5; i++) steady.push(timed(() => sampler.sample()));
    }
    const inside = (await target.ask("timeprofile 5"))
      .toString("utf8")
      .trim()
      .split(/\s+/)
      .map(Number)
      .map((ns) => ns / 1e6);
    console.log(
      JSON.stringify({
        name: `one wall sample of ${count} goroutines, ms`,
        ours: { first: summary(first), steady: summary(steady) },
        peer: { "runtime.GoroutineProfile": summary(inside) },
        ratio: round(summary(inside).median / summary(steady).median),
        goal: "all cost outside of the target; steady state cheaper than the runtime's own",
      }),
    );
  } finally {
    await target.end();
  }
}

function timed(work: () => void): number {
  const began = performance.now();
  work();
  return performance.now() - began;
}

function summary(values: readonly number[]): { min: number; median: number } {
  const sorted = [...values].sort((a, b) => a - b);
  return { min: round(sorted[0]!), median: round(sorted[Math.floor(sorted.length / 2)]!) };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
