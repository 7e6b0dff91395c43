/**
 * What attach finds out about a Go program, once: everything that cannot change while the process lives. The readers of
 * goroutines, memory statistics and profile buckets work from this and from memory alone.
 */
import type { MemoryReader } from "../base/memory-reader.ts";
import type { Address } from "../base/units.ts";
import type { Architecture } from "./architecture.ts";
import type { BuildInfo, GoVersion } from "./build-info.ts";
import type { Layout } from "./layout.ts";
import type { GoModule } from "./module.ts";

export interface GoRuntime {
  readonly memory: MemoryReader;
  readonly architecture: Architecture;
  readonly version: GoVersion;
  readonly buildInfo: BuildInfo;
  /** The modules of the program: one, and one more for each plugin. */
  readonly modules: readonly GoModule[];
  /** Offsets and sizes of the fields of runtime structures. */
  readonly layout: Layout;
  /** Addresses of runtime globals; one that could not be found or did not pass its check is absent. */
  readonly globals: ReadonlyMap<RuntimeGlobal, Address>;
  /** How each thing was found and checked, for `doctor` and for honesty. */
  readonly evidence: readonly Evidence[];
}

export interface Evidence {
  /** "version", "pclntab", "moduledata", "layout g", "global allgs" … */
  readonly subject: string;
  /** "symbol table", "references (7 of 9 witnesses)", "scan", "table of go1.26.8 (exact)", "DWARF" … */
  readonly found: string;
  /** What was checked and held; empty where nothing could be checked. */
  readonly checked: string;
}

/** The runtime globals that readers ask for, by the runtime's own names without the package. */
export const runtimeGlobals = [
  "allgs",
  "allglen",
  "allgptr",
  "allm",
  "allp",
  "sched",
  "gomaxprocs",
  "runtimeInitTime",
  "waitReasonStrings",
  "gStatusStrings",
  "fingStatus",
  "fingRunning",
  "debug",
  "memstats",
  "mheap_",
  "gcController",
  "gcpercent",
  "work",
  "emptymspan",
  "mcache0",
  "class_to_size",
  "physPageSize",
  "mbuckets",
  "bbuckets",
  "xbuckets",
  "mProfCycle",
  "mProf",
  "MemProfileRate",
  "blockprofilerate",
  "mutexprofilerate",
  "disableMemoryProfiling",
  "ticks",
  "semtable",
  "buildVersion",
] as const;

export type RuntimeGlobal = (typeof runtimeGlobals)[number];

/** What reading goroutines, their stacks and threads needs. */
export const goroutineGlobals: readonly RuntimeGlobal[] = [
  "allgs",
  "allm",
  "waitReasonStrings",
  "gStatusStrings",
  "fingStatus",
  "fingRunning",
];

/** The module whose text holds `pc`, or undefined. */
export function moduleOf(runtime: Pick<GoRuntime, "modules">, pc: Address): GoModule | undefined {
  for (const module of runtime.modules) if (pc >= module.text && pc < module.etext) return module;
  return undefined;
}
