/** A live process whose goroutines are looked at again and again: what `diff`, `watch` and `top` share. */
import { ProcscopeError } from "../base/errors.ts";
import type { Seconds } from "../base/units.ts";
import { GoroutineReader } from "../go/goroutine-reader.ts";
import type { GoProcess } from "../go/process.ts";
import { takeSnapshot } from "../go/snapshot.ts";
import { readProcStat } from "../kernel/proc-stat.ts";
import { newTally } from "../views/dump.ts";
import { LiveGoroutines } from "../views/live-goroutines.ts";
import { tracebackChunks } from "../views/traceback-dump.ts";
import { attachTarget } from "./attach-target.ts";
import type { Target } from "./target.ts";

export class Live implements Disposable {
  readonly process: GoProcess;
  private readonly startTicks: number;
  /** For snapshots without stacks: what it learnt of code is kept. */
  private readonly reader: GoroutineReader;

  /** Attaches. Throws what attaching throws. A program that we have just started is waited for. */
  static async open(target: Target): Promise<Live> {
    return new Live(await attachTarget(target));
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
  text(): Iterable<Uint8Array> {
    return tracebackChunks(new GoroutineReader(this.process.runtime), {}, newTally());
  }

  /** One goroutine as the runtime prints it; undefined where there is none of this id any more. */
  traceback(id: number): string | undefined {
    const options = { goroutine: id, system: true };
    const pieces = [...tracebackChunks(new GoroutineReader(this.process.runtime), options, newTally())];
    const text = Buffer.concat(pieces).toString("utf8");
    return text === "" ? undefined : text;
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
