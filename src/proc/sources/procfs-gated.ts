/**
 * Source "procfs-gated": procfs, but a process that the scheduler has not run since the last scan is not read again.
 *
 * /proc/PID/schedstat holds nanoseconds run and the number of time slices. While both stand still, a process of one
 * thread cannot have used CPU, done IO, faulted, switched or opened anything; only what others do to it (pages taken by
 * reclaim, limits set from outside) can move, and for these every row is read in full at every 16th scan. The file is a
 * fifth of the cost of stat, and kept open a fifth of that, at 4 KiB of kernel memory per descriptor.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { errnoOf, ProcscopeError } from "../../base/errors.ts";
import { descriptorBudget } from "../../kernel/descriptor-budget.ts";
import { defaultProcMount, ProcBuffer } from "../../kernel/proc-file.ts";
import { Outcome, type ProcfsOptions, ProcfsSource } from "./procfs.ts";
import type { ScanRequest, SourceName } from "./source.ts";

/** A schedstat line: three decimal numbers. */
const lineWidth = 64;
/** 4 KiB of kernel memory each: 64 MiB at most. */
const mostDescriptors = 16384;

/** The gate of one table: per row the last schedstat line and, within the budget, its open file. */
class Gate {
  private lines = Buffer.alloc(lineWidth * 256);
  private readonly lengths: number[] = [];
  private readonly descriptors: number[] = [];
  private readonly budget: { left: number };
  private readonly scratch = Buffer.alloc(lineWidth);

  constructor(budget: { left: number }) {
    this.budget = budget;
  }

  /** Whether the task ran since the last call. Gone is only found through a kept descriptor: such a one cannot be fooled by a reused id. */
  look(row: number, dir: string): Outcome {
    const length = this.read(row, dir);
    if (length < 0) return length === -1 ? Outcome.Gone : Outcome.Read;
    this.reserveRow(row);
    const at = row * lineWidth;
    if (this.lengths[row] === length && this.lines.compare(this.scratch, 0, length, at, at + length) === 0) {
      return Outcome.Unchanged;
    }
    this.scratch.copy(this.lines, at, 0, length);
    this.lengths[row] = length;
    return Outcome.Read;
  }

  /** Forgets a row; safe to call for one that is not known. */
  drop(row: number): void {
    const fd = this.descriptors[row];
    this.lengths[row] = 0;
    if (fd === undefined || fd < 0) return;
    this.descriptors[row] = -1;
    this.budget.left++;
    closeSync(fd);
  }

  close(): void {
    for (let row = 0; row < this.descriptors.length; row++) this.drop(row);
  }

  /** Bytes read into scratch; -1 where a kept file says that the task ended, -2 where it cannot be read. */
  private read(row: number, dir: string): number {
    const kept = this.descriptors[row] ?? -1;
    if (kept >= 0) {
      try {
        return readSync(kept, this.scratch, 0, lineWidth, 0);
      } catch {
        this.drop(row);
        return -1;
      }
    }
    let fd: number;
    try {
      fd = openSync(`${dir}/schedstat`, "r");
    } catch (error) {
      // Other parts of this process need descriptors: keep no more than there are now.
      if (errnoOf(error) === "EMFILE") this.budget.left = 0;
      return -2;
    }
    let length = -2;
    try {
      length = readSync(fd, this.scratch, 0, lineWidth, 0);
    } catch {
      // Ended between open and read: the caller's read of stat finds out.
    }
    if (this.budget.left > 0 && length > 0) {
      this.descriptors[row] = fd;
      this.budget.left--;
    } else closeSync(fd);
    return length;
  }

  private reserveRow(row: number): void {
    if ((row + 1) * lineWidth <= this.lines.length) return;
    const larger = Buffer.alloc(Math.max(this.lines.length * 2, (row + 1) * lineWidth));
    this.lines.copy(larger);
    this.lines = larger;
  }
}

export class GatedProcfsSource extends ProcfsSource {
  override readonly name: SourceName = "procfs-gated";
  override readonly notes = [
    "a process that did not run since the last scan keeps its values; memory taken from it by reclaim shows within 16 scans",
  ];
  private readonly budget: { left: number };
  private readonly gates: { readonly process: Gate; readonly thread: Gate };
  private threadsAsked = false;

  /** Throws UNSUPPORTED_HERE where the kernel does not keep scheduler statistics. */
  constructor(options: ProcfsOptions = {}) {
    super(options);
    const problem = gateProblem(options.mount ?? defaultProcMount);
    if (problem !== undefined) throw problem;
    this.budget = { left: descriptorBudget(mostDescriptors) };
    this.gates = { process: new Gate(this.budget), thread: new Gate(this.budget) };
  }

  override scan(request: ScanRequest): void {
    // A row gated without its threads would lack them: the first scan that asks for them reads all.
    this.threadsAsked = request.threads;
    super.scan(request);
    for (const row of this.threads.gone) this.gates.thread.drop(row);
  }

  override close(): void {
    this.gates.process.close();
    this.gates.thread.close();
  }

  protected override gate(row: number, dir: string): Outcome {
    // The file of the process is that of its main thread: it says nothing about the others.
    if (this.processes.columns.threads[row]! > 1) return Outcome.Read;
    const outcome = this.gates.process.look(row, dir);
    return outcome === Outcome.Unchanged && this.isRefreshScan(row) ? Outcome.Read : outcome;
  }

  protected override gateThread(row: number, dir: string): Outcome {
    return this.threadsAsked ? this.gates.thread.look(row, dir) : Outcome.Read;
  }

  protected override dropRow(row: number): void {
    this.gates.process.drop(row);
  }
}

/** Why the gate cannot be used with this procfs, or undefined where it can. */
export function gateProblem(mount: string): ProcscopeError | undefined {
  const buffer = new ProcBuffer();
  const line = buffer.readOnce(`${mount}/self/schedstat`) ? buffer.text().trim() : "";
  // sched_info switched off shows as zeros (kernel/sched/stats.h), which would say that nothing ever runs.
  if (/^[1-9]\d* \d+ \d+$/.test(line)) return undefined;
  return new ProcscopeError("UNSUPPORTED_HERE", `no scheduler statistics in ${mount}/self/schedstat`, {
    hint: "the kernel needs CONFIG_SCHED_INFO (CONFIG_SCHEDSTATS or CONFIG_TASK_DELAY_ACCT); use --source=procfs",
  });
}
