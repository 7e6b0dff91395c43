/** A program whose goroutines never stand still: no stack may be told that it never had. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { attach } from "../../src/index.ts";
import { build, GoTarget } from "../support/go-target.ts";
import { currentGo } from "../support/go-toolchain.ts";

const snapshots = 25;

/** The main.* functions of a stack, innermost first, as the target can have them (targets/goroutines/main.go). */
const legal: readonly RegExp[] = [
  /^$/,
  /^(main\.deeper ){0,6}main\.pingpong$/,
  /^main\.churn\.func1(\.\d)?$/,
  /^(main\.leaf )?main\.worker$/,
  /^(main\.spin )?main\.spinners\.func1$/,
  /^(main\.\w+ )*main\.main$/,
];

test("goroutines that come, go and call all the time: every stack told is one they can have", async () => {
  await using target = await GoTarget.start(await build(currentGo, "strip"), { env: { GOMAXPROCS: "4" } });
  for (const request of ["park 1000", "mix 100", "churn 20", "spin 1"]) await target.ask(request);
  using go = attach(target.pid);
  const seen = { stacks: 0, running: 0, inconsistent: 0 };
  const illegal = new Set<string>();
  for (let i = 0; i < snapshots; i++) {
    for (const goroutine of go.goroutines({ stacks: true })) {
      if (!goroutine.consistent) seen.inconsistent++;
      else if (goroutine.frames.length === 0) seen.running++;
      else {
        seen.stacks++;
        const names = goroutine.frames.map((frame) => frame.function);
        const own = names.filter((name) => name.startsWith("main.")).join(" ");
        const outermost = names.at(-1)!;
        const whole = outermost.startsWith("main.") || outermost.startsWith("runtime.");
        if (!whole || !legal.some((pattern) => pattern.test(own))) illegal.add(names.join(" < "));
      }
    }
  }
  assert.deepEqual([...illegal], []);
  assert.ok(seen.stacks > snapshots * 1000, JSON.stringify(seen));
  assert.ok(seen.inconsistent < seen.stacks / 1000, JSON.stringify(seen));
});
