/** What attaching to a Go process found out and how, for `doctor`. */
import type { Pid } from "../base/units.ts";
import { GoProcess } from "./process.ts";
import { type Evidence, runtimeGlobals } from "./runtime.ts";

export interface GoDiagnosis {
  readonly version: string;
  /** The main module's path and version, or undefined. */
  readonly module: string | undefined;
  readonly architecture: string;
  /** How memory is read. */
  readonly method: string;
  readonly evidence: readonly Evidence[];
  /** Runtime variables that were not found, or did not pass their check. */
  readonly missing: readonly string[];
}

/** Attaches and lets go again. Throws what {@link GoProcess.attach} throws. */
export function diagnoseGo(pid: Pid): GoDiagnosis {
  using process = GoProcess.attach(pid);
  const { info, runtime } = process;
  const { module } = info.build;
  return {
    version: info.version.text,
    module: module && (module.version ? `${module.path}@${module.version}` : module.path),
    architecture: info.architecture,
    method: info.method,
    evidence: info.evidence,
    missing: runtimeGlobals.filter((name) => !runtime.globals.has(name)),
  };
}
