import { ProcscopeError } from "../base/errors.ts";
import { type AttachOptions, GoProcess } from "../go/process.ts";
import { notice } from "./output.ts";
import type { Target } from "./target.ts";

/** How often a program that was just started is tried until its runtime is there, and the pause between. */
const startTries = 40;
const startPause = 50;

/**
 * Attaches to a target; a program that we have just started is waited for. Throws what attaching throws.
 */
export async function attachTarget(target: Target, options: Omit<AttachOptions, "exe"> = {}): Promise<GoProcess> {
  for (let attempt = 1; ; attempt++) {
    try {
      return GoProcess.attach(target.pid, { ...options, exe: target.exe });
    } catch (error) {
      // Between fork and the end of the runtime's start there is no Go program yet.
      if (!target.ended || attempt === startTries || !(error instanceof ProcscopeError)) throw error;
      await new Promise((resolve) => setTimeout(resolve, startPause));
    }
  }
}

/**
 * Attaches where the target is a Go program; undefined where it is none, or cannot be read as one: then its ELF symbols
 * must do, and standard error says so. Throws NO_PROCESS.
 */
export async function attachIfGo(target: Target): Promise<GoProcess | undefined> {
  try {
    return await attachTarget(target);
  } catch (error) {
    // Whether the process may be looked into at all, the next step will say.
    const tolerable =
      error instanceof ProcscopeError && (error.code === "UNSUPPORTED_TARGET" || error.code === "PERMISSION");
    if (!tolerable) throw error;
    notice(`named by ELF symbols (${error.message})`);
    return undefined;
  }
}
