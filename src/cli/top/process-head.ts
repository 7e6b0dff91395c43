/** What the head of the screen says of a process, from /proc and the runtime's own figures. */
import { errnoOf, ProcscopeError } from "../../base/errors.ts";
import type { Pid, Seconds } from "../../base/units.ts";
import type { GoProcess } from "../../go/process.ts";
import { countProcessors } from "../../go/processors.ts";
import { readBootTime } from "../../kernel/boot-time.ts";
import { defaultProcMount } from "../../kernel/proc-file.ts";
import { type ProcStatResult, pageSize, readProcStat, ticksPerSecond } from "../../kernel/proc-stat.ts";
import { countStates } from "../../views/groups.ts";
import type { LiveGoroutines } from "../../views/live-goroutines.ts";
import { type HeapReader, heapReader } from "./heap-head.ts";
import type { TopSample } from "./sample.ts";

/** CPU use of one process between two looks. */
export class CpuMeter {
  private last: { readonly ticks: number; readonly at: number } | undefined;

  /** Percent of one CPU since the look before; undefined at the first. `at` in milliseconds. */
  read(stat: ProcStatResult, at: number): number | undefined {
    const ticks = stat.userTicks + stat.systemTicks;
    const { last } = this;
    this.last = { ticks, at };
    if (!last || at <= last.at) return undefined;
    return ((ticks - last.ticks) / ticksPerSecond / ((at - last.at) / 1000)) * 100;
  }
}

/** Seconds since the process started, by the clock of this machine; the kernel tells it to a hundredth. */
export function uptimeOf(stat: ProcStatResult): Seconds | undefined {
  try {
    return Math.max(0, Date.now() / 1000 - readBootTime(defaultProcMount) - stat.startTicks / ticksPerSecond);
  } catch (error) {
    if (error instanceof ProcscopeError || errnoOf(error)) return undefined;
    throw error;
  }
}

/** Makes samples of one process. */
export class Sampler {
  private readonly process: GoProcess;
  private readonly pid: Pid;
  private readonly cpu = new CpuMeter();
  private readonly heap: HeapReader;

  constructor(process: GoProcess) {
    this.process = process;
    this.pid = process.pid;
    this.heap = heapReader(process.runtime);
  }

  /** Everything about the process around a snapshot that was just taken. Throws NO_PROCESS. */
  sample(source: LiveGoroutines, stacks: boolean): TopSample {
    const stat = readProcStat(this.pid);
    const at = source.takenAt;
    const states = countStates(source);
    const head = {
      pid: this.pid,
      name: stat.comm,
      goVersion: this.process.info.version.text.replace(/^go/, ""),
      uptime: uptimeOf(stat),
      cpuPercent: this.cpu.read(stat, at),
      residentBytes: stat.residentPages * pageSize,
      threads: stat.threads,
      heap: this.heap(),
      processors: countProcessors(this.process.runtime),
    };
    return { at, head, source, stacks, states, total: source.count };
  }
}
