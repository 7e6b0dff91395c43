/** All Go processes, looked at again and again: what was found out about one stays as long as it runs. */
import { ProcscopeError } from "../../base/errors.ts";
import type { Bytes, Pid, Seconds } from "../../base/units.ts";
import { countGoroutines } from "../../go/goroutine-count.ts";
import { GoProcess } from "../../go/process.ts";
import { goProcessIds } from "../../go/process-list.ts";
import { pageSize, readProcStat } from "../../kernel/proc-stat.ts";
import { type HeapReader, heapReader } from "./heap-head.ts";
import { CpuMeter, uptimeOf } from "./process-head.ts";
import type { HeapHead } from "./sample.ts";

export interface ProcessRow {
  readonly pid: Pid;
  readonly name: string;
  readonly goVersion: string | undefined;
  readonly goroutines: number | undefined;
  /** Since it was first looked at. */
  readonly change: number;
  readonly cpuPercent: number | undefined;
  readonly residentBytes: Bytes;
  readonly heap: HeapHead | undefined;
  readonly uptime: Seconds | undefined;
  /** Why it could not be looked into. */
  readonly problem: string | undefined;
}

interface Known {
  readonly startTicks: number;
  readonly process: GoProcess | undefined;
  readonly heap: HeapReader;
  readonly problem: string | undefined;
  readonly cpu: CpuMeter;
  first: number | undefined;
}

export class ProcessTable implements Disposable {
  private readonly known = new Map<Pid, Known>();

  /** All of them now, most goroutines first. */
  read(): ProcessRow[] {
    const pids = goProcessIds();
    const here = new Set(pids);
    for (const pid of [...this.known.keys()]) if (!here.has(pid)) this.forget(pid);
    const rows: ProcessRow[] = [];
    for (const pid of pids) {
      try {
        rows.push(this.row(pid));
      } catch (error) {
        // It ended while it was looked at; anything else is told in its row.
        if (!(error instanceof ProcscopeError)) throw error;
        this.forget(pid);
      }
    }
    return rows.sort((a, b) => (b.goroutines ?? -1) - (a.goroutines ?? -1) || a.pid - b.pid);
  }

  private row(pid: Pid): ProcessRow {
    const stat = readProcStat(pid);
    let known = this.known.get(pid);
    if (known && known.startTicks !== stat.startTicks) {
      this.forget(pid);
      known = undefined;
    }
    if (!known) {
      known = attach(pid, stat.startTicks);
      this.known.set(pid, known);
    }
    const goroutines = known.process && countGoroutines(known.process.runtime);
    known.first ??= goroutines;
    return {
      pid,
      name: stat.comm,
      goVersion: known.process?.info.version.text.replace(/^go/, ""),
      goroutines,
      change: (goroutines ?? 0) - (known.first ?? 0),
      cpuPercent: known.cpu.read(stat, Date.now()),
      residentBytes: stat.residentPages * pageSize,
      heap: known.heap(),
      uptime: uptimeOf(stat),
      problem: known.problem,
    };
  }

  private forget(pid: Pid): void {
    this.known.get(pid)?.process?.[Symbol.dispose]();
    this.known.delete(pid);
  }

  [Symbol.dispose](): void {
    for (const pid of [...this.known.keys()]) this.forget(pid);
  }
}

function attach(pid: Pid, startTicks: number): Known {
  const cpu = new CpuMeter();
  try {
    const process = GoProcess.attach(pid);
    return { startTicks, process, heap: heapReader(process.runtime), problem: undefined, cpu, first: undefined };
  } catch (error) {
    if (!(error instanceof ProcscopeError)) throw error;
    return { startTicks, process: undefined, heap: () => undefined, problem: error.message, cpu, first: undefined };
  }
}
