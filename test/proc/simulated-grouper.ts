/** The grouper over simulated processes, and a long life of many of them. */
import { ColumnGrouper, type ColumnGrouperOptions } from "../../src/proc/column-grouper.ts";
import { Counter } from "../../src/proc/group.ts";
import type { Namer } from "../../src/proc/process-facts.ts";
import type { ExitRecord } from "../../src/proc/sources/source.ts";
import { type SimulatedProcess, SimulatedSource } from "./simulated-source.ts";

export const wanted = ["a", "b"];
const namer: Namer = {
  name: (process) => (wanted.includes(process.comm) ? { name: process.comm, labels: {} } : undefined),
  fixedNames: [],
};

/** No procfs is there: command lines read as gone, so the simulated processes must be named by an existing folder. */
export function grouperOver(source: SimulatedSource, more: Partial<ColumnGrouperOptions> = {}): ColumnGrouper {
  return new SimulatedGrouper({
    source,
    namer,
    mount: "/nonexistent",
    bootTime: 1_000_000,
    trackChildren: true,
    threads: false,
    wchan: false,
    recheck: false,
    recheckLimit: 0,
    countFromStart: true,
    maxGroups: 1000,
    maxThreadNames: 100,
    emptyGroupLife: Number.POSITIVE_INFINITY,
    exitRecords: true,
    ...more,
  });
}

/** Gives simulated processes their name as command line. */
class SimulatedGrouper extends ColumnGrouper {
  protected override readCmdline(row: number): readonly string[] {
    return [this.source.processes.comm[row]!];
  }
}

export function process(pid: number, comm: string, more: Partial<SimulatedProcess> = {}): SimulatedProcess {
  return { pid, start: pid, ppid: 0, comm, cpu: 0, readBytes: 0, writeBytes: 0, rss: 0, vsize: 0, ...more };
}

export function exit(pid: number, comm: string, cpu: number, more: Partial<ExitRecord> = {}): ExitRecord {
  return {
    pid,
    startTicks: pid,
    startTime: undefined,
    ppid: 0,
    uid: 0,
    comm,
    cmdline: undefined,
    execed: undefined,
    utime: cpu * 1e9,
    stime: 0,
    readBytes: 0,
    writeBytes: 0,
    minorFaults: 0,
    majorFaults: 0,
    voluntarySwitches: 0,
    nonvoluntarySwitches: 0,
    exitCode: 0,
    signal: 0,
    peakBytes: undefined,
    delays: { cpu: 0, blockIo: 0, swap: 0 },
    ...more,
  };
}

/** A deterministic life of many processes over few pids; the bench runs it in full length. */
export function churn(
  processes: number,
  pids: number,
): { decreases: number; counted: number; used: number; rows: number } {
  const source = new SimulatedSource();
  const grouper = grouperOver(source);
  grouper.update();
  const alive = new Map<number, SimulatedProcess>();
  const before = new Map<string, Float64Array>();
  let seed = 1;
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % n;
  };
  let used = 0;
  let decreases = 0;
  for (let clock = 1, next = 0; next < processes; clock++) {
    const records: ExitRecord[] = [];
    for (let i = 0; i < 100 && next < processes; i++) {
      const pid = 1 + random(pids);
      const known = alive.get(pid);
      if (known) {
        records.push(exit(pid, known.comm, known.cpu, { startTicks: known.start }));
        alive.delete(pid);
      }
      next++;
      alive.set(pid, process(pid, wanted[random(2)]!, { start: clock * 1000 + i }));
    }
    for (const each of alive.values()) {
      const cpu = random(5) / 100;
      each.cpu += cpu;
      used += cpu;
    }
    source.list = [...alive.values()];
    grouper.update(() => records);
    for (const group of grouper.groups) {
      const last = before.get(group.name);
      if (last)
        group.counters.forEach((value, i) => {
          if (value < last[i]!) decreases++;
        });
      before.set(group.name, group.counters.slice());
    }
  }
  const counted = [...grouper.groups].reduce((sum, group) => sum + group.counters[Counter.cpuUser]!, 0) / 1e9;
  return { decreases, counted, used, rows: source.processes.capacity };
}
