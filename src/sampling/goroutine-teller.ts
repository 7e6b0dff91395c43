import type { Address } from "../base/units.ts";
import type { CodeTable } from "../go/code-table.ts";
import { LabelReader } from "../go/labels.ts";
import type { GoRuntime } from "../go/runtime.ts";

/** How long label sets are believed: a set's memory may be another's after the next garbage collection. */
const believedMilliseconds = 1000;

/** What a g tells of itself for a sample's labels: who made it, and its pprof labels. */
export class GoroutineTeller {
  readonly #runtime: GoRuntime;
  readonly #code: CodeTable;
  #reader: LabelReader;
  #since = performance.now();

  constructor(runtime: GoRuntime, code: CodeTable) {
    this.#runtime = runtime;
    this.#code = code;
    this.#reader = new LabelReader(runtime);
  }

  /** The function that holds the go statement, or "". */
  creator(gopc: Address): string {
    return this.#code.creation(gopc)?.function ?? "";
  }

  /** The pprof labels behind g.labels; empty where there are none or they do not hold together. */
  labels(pointer: Address): Iterable<readonly [key: string, value: string]> {
    if (performance.now() - this.#since > believedMilliseconds) {
      this.#reader = new LabelReader(this.#runtime);
      this.#since = performance.now();
    }
    return this.#reader.read(pointer) ?? [];
  }
}
