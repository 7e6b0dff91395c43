/**
 * Checks two sources against each other on the processes of this machine, for `doctor` and the tests: what one of them
 * says must be what the other says. Processes go on running meanwhile, so the first source is read before and after the
 * second, and a value of the second is right where it lies between.
 */
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import type { Pid } from "../../base/units.ts";
import { pageSize } from "../../kernel/proc-stat.ts";
import { Field, type ProcessColumns, type ProcessSource, type SourceName } from "./source.ts";

export interface SourceComparison {
  readonly sources: readonly [SourceName, SourceName];
  /** Processes that both saw and that lived through the comparison. */
  readonly processes: number;
  /** Values that were compared. */
  readonly compared: number;
  readonly differences: readonly SourceDifference[];
  /** Live processes that only one of the two showed. */
  readonly onlyFirst: readonly Pid[];
  readonly onlySecond: readonly Pid[];
  /** Whether nothing differs. */
  readonly agree: boolean;
}

export interface SourceDifference {
  readonly pid: Pid;
  readonly comm: string;
  readonly field: string;
  /** What the first source said before and after, and what the second said in between. */
  readonly before: number;
  readonly between: number;
  readonly after: number;
}

interface Rule {
  readonly column: keyof ProcessColumns | "cpu";
  readonly field: number;
  /** How far apart two right answers may lie. */
  readonly tolerance: number;
  /** The same as a share of the process's CPU time. */
  readonly cpuShare?: number;
  /**
   * Counted by procfs for the main thread only, by the task iterator for all threads, ended ones too: compared in
   * processes of one thread, which may have had others.
   */
  readonly ofMainThread?: boolean;
  /** Rises and falls while the process runs: compared in processes that used no CPU meanwhile, as far as can be seen. */
  readonly whileIdle?: boolean;
  /** Changes at every wake-up: compared in processes of one thread that slept through the comparison. */
  readonly whileAsleep?: boolean;
}

const tick = 1e7;
/** Resident pages are counted per CPU and summed lazily: kernel/lib percpu_counter, a batch for each CPU and kind. */
const memorySlack = 3 * Math.max(32, availableParallelism() * 2) * availableParallelism() * pageSize;

const rules: readonly Rule[] = [
  { column: "ppid", field: Field.base, tolerance: 0 },
  { column: "threads", field: Field.base, tolerance: 0, whileIdle: true },
  { column: "kernelThread", field: Field.base, tolerance: 0 },
  { column: "state", field: Field.base, tolerance: 0, whileAsleep: true },
  // procfs shows whole ticks of user and of system time, each rounded down. How the kernel divides the exact sum between
  // the two depends on when it was asked before.
  { column: "cpu", field: Field.base, tolerance: 2 * tick },
  { column: "utime", field: Field.base, tolerance: 2 * tick, cpuShare: 0.1 },
  { column: "stime", field: Field.base, tolerance: 2 * tick, cpuShare: 0.1 },
  { column: "minorFaults", field: Field.base, tolerance: 0 },
  { column: "majorFaults", field: Field.base, tolerance: 0 },
  { column: "residentBytes", field: Field.base, tolerance: memorySlack, whileIdle: true },
  { column: "virtualBytes", field: Field.base, tolerance: 0, whileIdle: true },
  { column: "readBytes", field: Field.io, tolerance: 0 },
  { column: "writeBytes", field: Field.io, tolerance: 0 },
  { column: "swapBytes", field: Field.swap, tolerance: memorySlack, whileIdle: true },
  { column: "voluntarySwitches", field: Field.switches, tolerance: 0, ofMainThread: true },
  { column: "nonvoluntarySwitches", field: Field.switches, tolerance: 0, ofMainThread: true },
  { column: "openFiles", field: Field.files, tolerance: 0, whileIdle: true },
  { column: "fileLimit", field: Field.limit, tolerance: 0 },
  { column: "uid", field: Field.owner, tolerance: 0 },
  { column: "peakBytes", field: Field.peak, tolerance: memorySlack },
];

/** Places of the rules by which a process is known to have slept. */
const switchRules = rules.flatMap((rule, i) => (rule.field === Field.switches ? [i] : []));

const cpuRule = rules.findIndex((rule) => rule.column === "cpu");

const mostDifferences = 100;

/** A size can rise and fall between two looks: only what differs in this many comparisons in a row is a difference. */
const rounds = 3;

/** Scans `a`, `b` and `a` again, and compares row by row; again where something differs. Throws what scan() throws. */
export function compareSources(a: ProcessSource, b: ProcessSource): SourceComparison {
  let result = compareOnce(a, b);
  for (let round = 1; round < rounds && !result.agree; round++) result = whatPersists(result, compareOnce(a, b));
  return result;
}

/** The later comparison with those differences only that were in the earlier one too. */
function whatPersists(earlier: SourceComparison, later: SourceComparison): SourceComparison {
  const known = new Set(earlier.differences.map(({ pid, field }) => `${pid} ${field}`));
  const differences = later.differences.filter(({ pid, field }) => known.has(`${pid} ${field}`));
  const onlyFirst = later.onlyFirst.filter((pid) => earlier.onlyFirst.includes(pid));
  const onlySecond = later.onlySecond.filter((pid) => earlier.onlySecond.includes(pid));
  const agree = differences.length + onlyFirst.length + onlySecond.length === 0 && later.processes > 0;
  return { ...later, differences, onlyFirst, onlySecond, agree };
}

function compareOnce(a: ProcessSource, b: ProcessSource): SourceComparison {
  const request = { threads: false, wchan: false };
  a.scan(request);
  const before = copyRows(a);
  b.scan(request);
  a.scan(request);
  const differences: SourceDifference[] = [];
  let compared = 0;
  let processes = 0;
  for (let i = 0; i < b.processes.count; i++) {
    const rowB = b.processes.live[i]!;
    const pid = b.processes.id[rowB]!;
    const first = before.get(pid);
    const rowA = a.processes.find(pid);
    if (!first || rowA < 0 || !sameProcess(a, rowA, first.startTicks) || !sameProcess(b, rowB, first.startTicks))
      continue;
    processes++;
    compared += compareRow(a, rowA, first, b, rowB, differences);
  }
  const onlyFirst = missing(before.keys(), a, b);
  const onlySecond = missing(idsOf(b), a, b, before);
  return {
    sources: [a.name, b.name],
    processes,
    compared,
    differences,
    onlyFirst,
    onlySecond,
    agree: differences.length === 0 && onlyFirst.length === 0 && onlySecond.length === 0 && processes > 0,
  };
}

interface RowCopy {
  readonly startTicks: number;
  readonly valid: number;
  readonly comm: string;
  readonly values: readonly number[];
}

function copyRows(source: ProcessSource): Map<Pid, RowCopy> {
  const { processes } = source;
  const copies = new Map<Pid, RowCopy>();
  for (let i = 0; i < processes.count; i++) {
    const row = processes.live[i]!;
    copies.set(processes.id[row]!, {
      startTicks: processes.startTicks[row]!,
      valid: processes.columns.valid[row]!,
      comm: processes.comm[row]!,
      values: rules.map((rule) => ruleValue(processes.columns, rule, row)),
    });
  }
  return copies;
}

function compareRow(
  a: ProcessSource,
  rowA: number,
  first: RowCopy,
  b: ProcessSource,
  rowB: number,
  differences: SourceDifference[],
): number {
  const valid = first.valid & a.processes.columns.valid[rowA]! & b.processes.columns.valid[rowB]!;
  const oneThread = a.processes.columns.threads[rowA] === 1 && b.processes.columns.threads[rowB] === 1;
  const asleep =
    oneThread && switchRules.every((i) => first.values[i] === ruleValue(a.processes.columns, rules[i]!, rowA));
  const idle = first.values[cpuRule] === ruleValue(a.processes.columns, rules[cpuRule]!, rowA);
  const cpu = a.processes.columns.utime[rowA]! + a.processes.columns.stime[rowA]!;
  let compared = 0;
  rules.forEach((rule, i) => {
    const before = first.values[i]!;
    const after = ruleValue(a.processes.columns, rule, rowA);
    if ((valid & rule.field) === 0 || (rule.ofMainThread && !oneThread)) return;
    if ((rule.whileAsleep && !asleep) || (rule.whileIdle && !idle)) return;
    compared++;
    const between = ruleValue(b.processes.columns, rule, rowB);
    const tolerance = rule.tolerance + (rule.cpuShare ?? 0) * cpu;
    const low = rule.ofMainThread && countsAllThreads(a) ? 0 : Math.min(before, after) - tolerance;
    const high =
      rule.ofMainThread && countsAllThreads(b) ? Number.POSITIVE_INFINITY : Math.max(before, after) + tolerance;
    if ((between >= low && between <= high) || differences.length >= mostDifferences) return;
    differences.push({ pid: a.processes.id[rowA]!, comm: first.comm, field: rule.column, before, between, after });
  });
  return compared;
}

function ruleValue(columns: ProcessColumns, rule: Rule, row: number): number {
  return rule.column === "cpu" ? columns.utime[row]! + columns.stime[row]! : columns[rule.column][row]!;
}

function countsAllThreads(source: ProcessSource): boolean {
  return source.name === "bpf";
}

function sameProcess(source: ProcessSource, row: number, startTicks: number): boolean {
  return source.processes.startTicks[row] === startTicks;
}

/** Pids that lived from the first to the last scan by one source and were not shown by the other. */
function missing(pids: Iterable<Pid>, a: ProcessSource, b: ProcessSource, before?: Map<Pid, RowCopy>): Pid[] {
  const found: Pid[] = [];
  for (const pid of pids) {
    const inA = isLive(a, pid);
    const inB = isLive(b, pid);
    // What `a` saw both times must be in `b`; what `b` saw must have been in one scan of `a`, or it ended in between.
    if (before ? inB && !inA && !before.has(pid) && stillThere(pid) : inA && !inB) found.push(pid);
  }
  return found;
}

function* idsOf(source: ProcessSource): Iterable<Pid> {
  for (let i = 0; i < source.processes.count; i++) yield source.processes.id[source.processes.live[i]!]!;
}

function isLive(source: ProcessSource, pid: Pid): boolean {
  const row = source.processes.find(pid);
  return row >= 0 && source.processes.seen[row] === source.processes.generation;
}

function stillThere(pid: Pid): boolean {
  return existsSync(`/proc/${pid}`);
}
