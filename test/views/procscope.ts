/** Runs the built command line tool. */
import { spawnSync } from "node:child_process";
import { cliPath } from "../support/cli.ts";

/** Its standard output; throws with its standard error where the exit status is not `status`. */
export function procscope(words: readonly string[], status = 0): Buffer {
  const result = spawnSync(process.execPath, [cliPath, ...words], { maxBuffer: 1 << 28, timeout: 60_000 });
  if (result.status !== status) {
    throw new Error(`procscope ${words.join(" ")} ended with ${result.status}: ${result.stderr}${result.stdout}`);
  }
  return result.stdout;
}
procscope.path = cliPath;
