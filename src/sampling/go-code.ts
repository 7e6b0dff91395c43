/** Names for Go code, by pclntab: inlined calls, generic functions, and nothing of what pprof leaves out. */
import type { Address } from "../base/units.ts";
import type { CodeTable } from "../go/code-table.ts";
import type { CodeFrame, CodeSource } from "./code.ts";
import type { StackEnd } from "./cpu-sampler.ts";

export class GoCode implements CodeSource {
  readonly table: CodeTable;

  constructor(table: CodeTable) {
    this.table = table;
  }

  /** Wrappers that the compiler made and runtime.goexit are left out, as runtime/pprof does (proto.go allFrames). */
  frames(address: Address, isReturn: boolean): readonly CodeFrame[] | undefined {
    const point = this.table.point(address, !isReturn);
    if (!point) return undefined;
    if (point.fn.name === "runtime.goexit") return [];
    const frames = this.table.frames(point);
    const shown: CodeFrame[] = [];
    for (let i = 0; i < frames.length; i++) {
      const { function: name, file, line, wrapper, inlined } = frames[i]!;
      if (!wrapper) shown.push({ name, file, line, startLine: inlined ? 0 : point.fn.startLine });
    }
    return shown;
  }

  endOf(address: Address): StackEnd | undefined {
    const name = this.table.point(address, false)?.fn.name;
    if (name === undefined) return undefined;
    return beginnings.has(name) ? "whole" : switches.has(name) ? "switch" : undefined;
  }
}

/** Where stacks of goroutines and of threads begin. */
const beginnings = new Set([
  "runtime.goexit",
  "runtime.mstart",
  "runtime.rt0_go",
  "_rt0_amd64_linux",
  "runtime.sigtramp",
  "runtime.clone",
]);
/** Where the runtime leaves one stack for another without linking their frames. */
const switches = new Set([
  "runtime.mcall",
  "runtime.morestack",
  "runtime.morestack_noctxt",
  "runtime.newstack",
  "runtime.gogo",
  "runtime.sigreturn__sigaction",
]);
