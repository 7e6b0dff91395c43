/**
 * Puts back the caller that a walk over frame pointers loses: a Go function without a frame of its own, or one that is
 * just entering or leaving, leaves its caller's frame pointer in BP, so that the walk goes on with the caller's caller.
 * pclntab says how far the return address lies above the stack pointer at each instruction; the sampled stack holds it.
 */

import { u64 } from "../base/bytes.ts";
import type { Address, Bytes } from "../base/units.ts";
import { type GoRuntime, moduleOf } from "../go/runtime.ts";

export class LeafRepair {
  readonly #runtime: Pick<GoRuntime, "modules">;
  /** Distance in bytes from the stack pointer to the return address by instruction; -1 where there is none to use. */
  readonly #distances = new Map<Address, number>();

  constructor(runtime: Pick<GoRuntime, "modules">) {
    this.#runtime = runtime;
  }

  /**
   * The caller of the function at `pc` where the walk's next frame is not it, else 0. The stack's bytes begin at the
   * stack pointer of the sample.
   */
  callerOf(pc: Address, walked: Address, stack: Buffer, start: Bytes, length: Bytes): Address {
    const distance = this.#distance(pc);
    if (distance < 0 || distance + 8 > length) return 0;
    const caller = u64(stack, start + distance);
    // A return address lies in Go code; anything else means that the stack was not what pclntab says (cgo, signals).
    return caller !== walked && moduleOf(this.#runtime, caller) ? caller : 0;
  }

  #distance(pc: Address): number {
    let distance = this.#distances.get(pc);
    if (distance === undefined) {
      const table = moduleOf(this.#runtime, pc)?.pclntab;
      const fn = table?.find(pc);
      // The first function of a thread or goroutine has no caller, whatever lies above it (funcflag TopFrame).
      distance = (fn && (fn.flag & 1) === 0 ? table!.frameSize(fn, pc) : undefined) ?? -1;
      this.#distances.set(pc, distance);
    }
    return distance;
  }
}
