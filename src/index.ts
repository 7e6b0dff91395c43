import type { Pid } from "./base/units.ts";
import type { AttachOptions } from "./go/process.ts";
import { InspectedProcess } from "./views/inspected-process.ts";

export { type ErrorCode, ProcscopeError } from "./base/errors.ts";
export type { BuildInfo, GoVersion } from "./go/build-info.ts";
export type { MemStats } from "./go/mem-stats.ts";
export type { AttachOptions, GoProcessInfo } from "./go/process.ts";
export type { Evidence, GoRuntime } from "./go/runtime.ts";
export { compareSnapshots, type Difference, type DifferenceOptions, type GroupChange } from "./views/difference.ts";
export type { DumpFormat, DumpOptions, DumpTally } from "./views/dump.ts";
export { parseDump, readDumpFile } from "./views/dump-parser.ts";
export type { GoroutineFilter } from "./views/filters.ts";
export type { GoroutineSource, GoroutineState, Place, StackFrame } from "./views/goroutine-source.ts";
export { type GoroutineGroup, type GroupBy, type GroupOptions, groupGoroutines } from "./views/groups.ts";
export { Goroutine, Goroutines, InspectedProcess as GoProcess } from "./views/inspected-process.ts";
export { type Resource, Resources, resourceText } from "./views/resources.ts";
export { findSuspects, type Suspect, type Suspicion } from "./views/suspects.ts";

/**
 * Attaches to a running Go process, read-only and without pausing it: `using go = attach(pid)`. Throws ProcscopeError:
 * NO_PROCESS, PERMISSION, UNSUPPORTED_TARGET, MALFORMED.
 */
export function attach(pid: Pid, options?: AttachOptions): InspectedProcess {
  return InspectedProcess.attach(pid, options);
}
