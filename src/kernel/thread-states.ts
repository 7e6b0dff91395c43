/** How many threads of a process are in which state: the state letters of /proc/PID/task/TID/stat (proc_pid_stat(5)). */
import { readdirSync, readFileSync } from "node:fs";
import type { Pid } from "../base/units.ts";
import { defaultProcMount } from "./proc-file.ts";

export interface ThreadStates {
  total: number;
  running: number;
  /** Interruptible, uninterruptible and idle sleep. */
  sleeping: number;
  /** By a signal or by a tracer. */
  stopped: number;
  zombie: number;
}

const states: Readonly<Record<string, "running" | "stopped" | "zombie">> = {
  R: "running",
  T: "stopped",
  t: "stopped",
  Z: "zombie",
  X: "zombie",
  x: "zombie",
};

/** Counts the threads; all zero where the process is gone. A thread that ends meanwhile is not counted. */
export function countThreads(pid: Pid): ThreadStates {
  const counts: ThreadStates = { total: 0, running: 0, sleeping: 0, stopped: 0, zombie: 0 };
  const folder = `${defaultProcMount}/${pid}/task`;
  for (const tid of threadIds(folder)) {
    const state = stateOf(`${folder}/${tid}/stat`);
    if (state === undefined) continue;
    counts.total++;
    counts[states[state] ?? "sleeping"]++;
  }
  return counts;
}

function threadIds(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function stateOf(path: string): string | undefined {
  try {
    const stat = readFileSync(path, "latin1");
    return stat[stat.lastIndexOf(")") + 2];
  } catch {
    return undefined;
  }
}
