import { ProcscopeError } from "../base/errors.ts";
import { GoProcess } from "../go/process.ts";
import type { Target } from "./target.ts";

/** How often a program that was just started is tried until its runtime is there, and the pause between. */
const startTries = 40;
const startPause = 50;

/** Attaches to a target; a program that we have just started is waited for. Throws what attaching throws. */
export async function attachTarget(target: Target): Promise<GoProcess> {
  for (let attempt = 1; ; attempt++) {
    try {
      return GoProcess.attach(target.pid, { exe: target.exe });
    } catch (error) {
      // Between fork and the end of the runtime's start there is no Go program yet.
      if (!target.ended || attempt === startTries || !(error instanceof ProcscopeError)) throw error;
      await new Promise((resolve) => setTimeout(resolve, startPause));
    }
  }
}
