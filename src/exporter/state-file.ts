/**
 * Counters kept over a restart of the exporter. The file holds the counters of every group, and what was counted of each
 * process then alive, so that what they used while no exporter ran is counted too.
 */
import { chmodSync, closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import type { ColumnGrouper } from "../proc/column-grouper.ts";
import { counterCount, processCounterCount } from "../proc/group.ts";

const schema = "procscope/exporter-state/1";

interface SavedGroup {
  readonly name: string;
  readonly labels: Record<string, string>;
  readonly counters: number[];
  readonly peakBytes: number;
  readonly exits: [how: number, count: number][];
  readonly threads: [name: string, counters: number[]][];
}

interface SavedState {
  readonly schema: string;
  readonly bootId: string;
  readonly lastStart: number;
  readonly groups: SavedGroup[];
  /** "pid:start" and the counters as they were counted. */
  readonly processes: [key: string, counted: number[]][];
}

/** Writes the state whole or not at all, readable by its owner only. Throws IO. */
export function saveState(path: string, grouper: ColumnGrouper): void {
  const temporary = `${path}.${process.pid}.part`;
  try {
    const fd = openSync(temporary, "w", 0o600);
    try {
      const bytes = Buffer.from(JSON.stringify(stateOf(grouper)));
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    chmodSync(temporary, 0o600);
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new ProcscopeError("IO", `cannot write the state file ${path}: ${errnoOf(cause) ?? cause}`, {
      hint: "its folder must be writable by the exporter; or leave --state-file out",
      cause,
    });
  }
}

function stateOf(grouper: ColumnGrouper): SavedState {
  const { processes } = grouper.source;
  const { counted, group } = grouper.state;
  const saved: SavedState["processes"] = [];
  let lastStart = 0;
  for (let i = 0; i < processes.count; i++) {
    const row = processes.live[i]!;
    lastStart = Math.max(lastStart, processes.startTicks[row]!);
    if (group[row]! <= 0) continue;
    const at = row * processCounterCount;
    saved.push([
      `${processes.id[row]}:${processes.startTicks[row]}`,
      [...counted.subarray(at, at + processCounterCount)],
    ]);
  }
  return {
    schema,
    bootId: bootId(),
    lastStart,
    groups: [...grouper.groups].map((each) => ({
      name: each.name,
      labels: { ...each.labels },
      counters: [...each.counters],
      peakBytes: each.peakBytes,
      exits: [...each.exits],
      threads: [...each.threads].map(([name, thread]) => [name, [...thread.counters]]),
    })),
    processes: saved,
  };
}

/**
 * Puts a saved state into a grouper that has not scanned yet. False where there is no file. Throws MALFORMED where it is
 * not a state: better no start than counters that silently begin at 0.
 */
export function loadState(path: string, grouper: ColumnGrouper): boolean {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return false;
    throw new ProcscopeError("UNREADABLE", `cannot read the state file ${path}: ${errnoOf(cause) ?? cause}`, { cause });
  }
  const state = parseState(text);
  if (!state) {
    throw new ProcscopeError("MALFORMED", `not a state of procscope's exporter: ${path}`, {
      hint: "remove the file to start all counters at 0",
    });
  }
  for (const saved of state.groups) {
    const group = grouper.groups.get(saved.name, saved.labels);
    group.counters.set(saved.counters.slice(0, counterCount));
    group.peakBytes = saved.peakBytes;
    for (const [how, count] of saved.exits) group.exits.set(how, count);
    for (const [name, counters] of saved.threads) {
      group.thread(name, grouper.options.maxThreadNames).counters.set(counters.slice(0, processCounterCount));
    }
  }
  // After a boot every process is new, whatever its pid and start are.
  if (state.bootId === bootId()) grouper.resume(new Map(state.processes), state.lastStart);
  else grouper.resume(new Map(), 0);
  return true;
}

function parseState(text: string): SavedState | undefined {
  try {
    const state = JSON.parse(text) as Partial<SavedState> | null;
    if (state?.schema !== schema || typeof state.bootId !== "string" || !isCount(state.lastStart)) return undefined;
    const numbers = (list: unknown): boolean => Array.isArray(list) && list.every(isCount);
    const groupsFit = state.groups?.every(
      (group) =>
        typeof group.name === "string" &&
        typeof group.labels === "object" &&
        numbers(group.counters) &&
        isCount(group.peakBytes) &&
        Array.isArray(group.exits) &&
        group.threads.every((thread) => typeof thread[0] === "string" && numbers(thread[1])),
    );
    const processesFit = state.processes?.every((entry) => typeof entry[0] === "string" && numbers(entry[1]));
    return groupsFit && processesFit ? (state as SavedState) : undefined;
  } catch {
    return undefined;
  }
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

/** A number of the kernel's that differs after each boot. */
function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
}
