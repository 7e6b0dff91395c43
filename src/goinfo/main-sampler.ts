/**
 * Live figures of the main thread for the serving thread. One question is open at a time; readers that come meanwhile
 * share it. While the main thread gives no answer, everybody gets the last sample at once, with its age.
 */
import { evaluateInMain, inTime } from "./node-inspection.ts";
import type { NodeMemory } from "./node-memory.ts";

/** Where the main thread keeps the function that takes a sample; evaluated there as an expression. */
export const samplerKey = "procscope.goinfo.sample";

/** Answers come in well under a millisecond; a thread that takes longer is in native code. */
const patience = 30;

export interface Sample {
  readonly memory: NodeMemory;
  /** False for a sample from before the main thread stopped answering. */
  readonly live: boolean;
  readonly ageMilliseconds: number;
}

export class MainSampler {
  private last: NodeMemory;
  private open: Promise<NodeMemory> | undefined;
  private silent = false;

  constructor(first: NodeMemory) {
    this.last = first;
  }

  async sample(): Promise<Sample> {
    this.open ??= this.ask();
    // Once it has kept somebody waiting, nobody else waits for the same answer.
    const memory = this.silent ? undefined : await inTime(this.open, patience);
    this.silent = memory === undefined && this.open !== undefined;
    const taken = memory ?? this.last;
    return { memory: taken, live: memory !== undefined, ageMilliseconds: Math.max(0, Date.now() - taken.takenAt) };
  }

  private async ask(): Promise<NodeMemory> {
    try {
      const sample = await evaluateInMain(`globalThis[Symbol.for(${JSON.stringify(samplerKey)})]()`);
      this.last = sample as NodeMemory;
      return this.last;
    } finally {
      this.open = undefined;
      this.silent = false;
    }
  }
}
