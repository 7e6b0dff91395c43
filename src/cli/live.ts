/** A live process whose goroutines are looked at again and again: what `diff`, `watch` and `top` share. */
import { ProcscopeError } from "../base/errors.ts";
import type { Seconds } from "../base/units.ts";
import { GoroutineReader } from "../go/goroutine-reader.ts";
import { GoroutineTable } from "../go/goroutine-table.ts";
import { GoProcess } from "../go/process.ts";
import { monotonicNow, takeSnapshot } from "../go/snapshot.ts";
import { readProcStat } from "../kernel/proc-stat.ts";
import { ChunkWriter } from "../profile/chunk-writer.ts";
import { LiveGoroutines } from "../views/live-goroutines.ts";
import { TracebackWriter } from "../views/traceback.ts";
import type { Target } from "./target.ts";

/** Goroutines whose text is made at a time. */
const dumpRows = 4096;
/** How often a program that was just started is tried until its runtime is there. */
const startTries = 40;

export class Live implements Disposable {
  readonly process: GoProcess;
  private readonly startTicks: number;
  /** For snapshots without stacks: what it learnt of code is kept. */
  private readonly reader: GoroutineReader;

  /** Attaches. Throws what attaching throws. A program that we have just started is waited for. */
  static async open(target: Target): Promise<Live> {
    for (let attempt = 1; ; attempt++) {
      try {
        return new Live(GoProcess.attach(target.pid, { exe: target.exe }));
      } catch (error) {
        // Between fork and the end of the runtime's start there is no Go program yet.
        if (!target.ended || attempt === startTries || !(error instanceof ProcscopeError)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  private constructor(process: GoProcess) {
    this.process = process;
    this.startTicks = readProcStat(process.pid).startTicks;
    this.reader = new GoroutineReader(process.runtime);
  }

  /** Takes a snapshot. Stacks cost several times the rest. Throws NO_PROCESS when the target has exited. */
  snapshot(stacks: boolean): LiveGoroutines {
    const { pid, runtime } = this.process;
    // A number may be given to another process, whose memory is not to be taken for this one's.
    if (readProcStat(pid).startTicks !== this.startTicks) {
      throw new ProcscopeError("NO_PROCESS", `process ${pid} has exited; its number belongs to another one now`);
    }
    // The stacks of a snapshot live in its reader's tree.
    const reader = stacks ? new GoroutineReader(runtime) : this.reader;
    return new LiveGoroutines(takeSnapshot(reader, { stacks }));
  }

  /** All goroutines but system ones as the runtime prints them, in pieces. */
  *text(): Generator<Uint8Array> {
    const reader = new GoroutineReader(this.process.runtime);
    const addresses = reader.addresses();
    const out = new ChunkWriter();
    const writer = new TracebackWriter(reader, out, monotonicNow());
    for (let first = 0; first < addresses.length; first += dumpRows) {
      const count = Math.min(dumpRows, addresses.length - first);
      const table = new GoroutineTable(reader.layout, count);
      reader.read(table, addresses, first, count, 0, {
        wants: (row) => !reader.isSystem(table, row),
        stack: (row, node, copy) => writer.withStack(table, row, node, copy),
        noStack: (row) => writer.withoutStack(table, row),
      });
      yield out.take();
    }
  }

  /** One goroutine as the runtime prints it; undefined where there is none of this id any more. */
  traceback(id: number): string | undefined {
    const snapshot = takeSnapshot(this.reader, { stacks: false });
    const row = snapshot.rows.find((one) => snapshot.table.id[one] === id);
    if (row === undefined) return undefined;
    const out = new ChunkWriter();
    const reader = new GoroutineReader(this.process.runtime);
    const writer = new TracebackWriter(reader, out, monotonicNow());
    const table = new GoroutineTable(reader.layout, 1);
    reader.read(table, Float64Array.of(snapshot.table.address[row]!), 0, 1, 0, {
      wants: () => true,
      stack: (one, node, copy) => writer.withStack(table, one, node, copy),
      noStack: (one) => writer.withoutStack(table, one),
    });
    return table.id[0] === id ? out.take().toString("utf8") : undefined;
  }

  [Symbol.dispose](): void {
    this.process[Symbol.dispose]();
  }
}

/** Waits; ends early when the signal is aborted or `ended` resolves. */
export async function pause(seconds: Seconds, signal: AbortSignal, ended?: Promise<void>): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(finish, seconds * 1000);
    function finish(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      resolve();
    }
    signal.addEventListener("abort", finish);
    void ended?.then(finish);
  });
}
