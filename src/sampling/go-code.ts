/** Names for Go code, by pclntab: inlined calls, generic functions, and nothing of what pprof leaves out. */
import type { Address } from "../base/units.ts";
import type { CodeTable } from "../go/code-table.ts";
import type { CodeFrame, CodeSource } from "./code.ts";

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

  /** Whether a stack that ends here begins at its goroutine's or thread's beginning. */
  isRoot(address: Address): boolean {
    const point = this.table.point(address, false);
    return point !== undefined && beginnings.has(point.fn.name);
  }
}

/** Where stacks of goroutines and of threads begin. mcall and morestack are not here: frame pointers end at them. */
const beginnings = new Set([
  "runtime.goexit",
  "runtime.mstart",
  "runtime.mstart0",
  "runtime.rt0_go",
  "_rt0_amd64_linux",
  "runtime.sigtramp",
  "runtime.clone",
]);
