import type { Pid } from "./base/units.ts";
import { type AttachOptions, GoProcess } from "./go/process.ts";

export { type ErrorCode, ProcscopeError } from "./base/errors.ts";
export type { BuildInfo, GoVersion } from "./go/build-info.ts";
export type { MemStats } from "./go/mem-stats.ts";
export { type AttachOptions, GoProcess, type GoProcessInfo } from "./go/process.ts";
export type { Evidence, GoRuntime } from "./go/runtime.ts";

/**
 * Attaches to a running Go process, read-only and without pausing it: `using go = attach(pid)`. Throws ProcscopeError:
 * NO_PROCESS, PERMISSION, UNSUPPORTED_TARGET, MALFORMED.
 */
export function attach(pid: Pid, options?: AttachOptions): GoProcess {
  return GoProcess.attach(pid, options);
}
