/** The process library, `procscope/proc`: process-exporter's Go package `proc` v0.1.0 in TypeScript. */
export { ProcscopeError } from "../base/errors.ts";
export { FS } from "./fs.ts";
export { type GroupCountMap, type GroupCounts, Grouper, oldestStartSeconds } from "./grouper.ts";
export { procIter } from "./iter.ts";
export { type ProcStats, TrackedProc, Tracker, type TrackerOptions } from "./tracker.ts";
export {
  type Counts,
  info,
  type MatchNamer,
  type Memory,
  type NameAndCmdline,
  type Proc,
  type ProcId,
  ProcIdInfo,
  type ProcIdStatic,
  type ProcInfo,
  type ProcIter,
  type ProcMetrics,
  type ProcStatic,
  procKey,
  type Source,
} from "./types.ts";
