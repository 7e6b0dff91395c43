import { ProcscopeError } from "../base/errors.ts";
import type { Pid } from "../base/units.ts";
import type { Proc, ProcId, ProcIter, ProcMetrics, ProcStatic } from "./types.ts";

/** A ProcIter over `length` processes made one at a time by `get`, with an error to be told at close(). */
export class ListIter implements ProcIter {
  private index = -1;
  private current: Proc | undefined;
  private length: number;
  private readonly get: (index: number) => Proc;
  private readonly error: ProcscopeError | undefined;

  constructor(length: number, get: (index: number) => Proc, error?: ProcscopeError) {
    this.length = length;
    this.get = get;
    this.error = error;
  }

  next(): boolean {
    this.index++;
    this.current = this.index < this.length ? this.get(this.index) : undefined;
    return this.current !== undefined;
  }

  close(): void {
    this.length = 0;
    this.current = undefined;
    if (this.error) throw this.error;
  }

  [Symbol.dispose](): void {
    this.length = 0;
    this.current = undefined;
  }

  /** Goes through what is left and closes. */
  *[Symbol.iterator](): Generator<Proc> {
    while (this.next()) yield this.current!;
    this.close();
  }

  getPid(): Pid {
    return this.proc().getPid();
  }
  getProcId(): ProcId {
    return this.proc().getProcId();
  }
  getStatic(): ProcStatic {
    return this.proc().getStatic();
  }
  getMetrics(): ProcMetrics {
    return this.proc().getMetrics();
  }

  private proc(): Proc {
    if (this.current) return this.current;
    throw new ProcscopeError("USAGE", "the iterator is not at a process: call next() first");
  }
}

/** A ProcIter over processes that are already at hand: {@link ProcIdInfo}s of a recording, or of a test. */
export function procIter(procs: readonly Proc[]): ProcIter {
  return new ListIter(procs.length, (index) => procs[index]!);
}
