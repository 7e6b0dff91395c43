/** `top --cpu`: the screen, or a line of JSON for each look. */
import { exitStatus } from "../../base/errors.ts";
import type { Seconds } from "../../base/units.ts";
import { readProcStatus } from "../../kernel/proc-status.ts";
import { attachIfGo } from "../attach-target.ts";
import { pause } from "../live.ts";
import { jsonHeader, openSink } from "../output.ts";
import type { Target } from "../target.ts";
import { CpuFunctions } from "./cpu-functions.ts";
import { CpuScreen } from "./cpu-screen.ts";
import { ScreenLoop } from "./run-top.ts";

export interface TopCpuOptions {
  readonly interval: Seconds;
  readonly count: number;
  readonly limit: number;
  readonly rate: number;
  readonly signal: AbortSignal;
  /** Whether there is a terminal to draw on. */
  readonly screen: boolean;
}

export async function topCpu(target: Target, options: TopCpuOptions): Promise<number> {
  using go = await attachIfGo(target);
  using functions = new CpuFunctions({
    pid: target.pid,
    kind: "cpu",
    rate: options.rate,
    budget: 0.05,
    go: go?.runtime,
  });
  // The first look has something to show.
  await pause(Math.min(options.interval, 0.5), options.signal, target.ended);
  // Awaited here: what is used is given back when this function returns.
  return options.screen ? await screenOf(target, functions, options) : await records(target, functions, options);
}

async function screenOf(target: Target, functions: CpuFunctions, options: TopCpuOptions): Promise<number> {
  const loop = new ScreenLoop({ ...options, ended: target.ended });
  const { name } = readProcStatus(target.pid);
  const screen = new CpuScreen(
    { quit: () => loop.quit(), refresh: () => loop.refresh(), setInterval: (seconds) => loop.setInterval(seconds) },
    `${name} (pid ${target.pid})`,
    options.interval,
  );
  await loop.run(screen, () => screen.update(functions.look()));
  return options.signal.aborted ? exitStatus.interrupted : exitStatus.ok;
}

async function records(target: Target, functions: CpuFunctions, options: TopCpuOptions): Promise<number> {
  const sink = openSink();
  for (let look = 1; !options.signal.aborted; look++) {
    await pause(options.interval, options.signal, target.ended);
    const { functions: all, ...cpu } = functions.look();
    const header = jsonHeader("procscope/top/1", { pid: target.pid });
    sink.write(
      `${JSON.stringify({ ...header, interval: options.interval, cpu: { ...cpu, functions: all.slice(0, options.limit) } })}\n`,
    );
    if (look === options.count) return exitStatus.ok;
  }
  return exitStatus.interrupted;
}
