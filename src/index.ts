import type { Pid } from "./base/units.ts";
import type { AttachOptions } from "./go/process.ts";
import { InspectedProcess } from "./views/inspected-process.ts";

export { type ErrorCode, ProcscopeError } from "./base/errors.ts";
export type { BuildInfo, GoVersion } from "./go/build-info.ts";
export type { MemStats } from "./go/mem-stats.ts";
export type { AttachOptions, GoProcessInfo } from "./go/process.ts";
export type { Evidence, GoRuntime } from "./go/runtime.ts";
export type { DumpFormat, DumpOptions, DumpTally } from "./views/dump.ts";
export type { GoroutineState, Place, StackFrame } from "./views/goroutine-source.ts";
export { Goroutine, Goroutines, InspectedProcess as GoProcess } from "./views/inspected-process.ts";

/**
 * Attaches to a running Go process, read-only and without pausing it: `using go = attach(pid)`. Throws ProcscopeError:
 * NO_PROCESS, PERMISSION, UNSUPPORTED_TARGET, MALFORMED.
 */
export function attach(pid: Pid, options?: AttachOptions): InspectedProcess {
  return InspectedProcess.attach(pid, options);
}
