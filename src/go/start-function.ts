import type { Address } from "../base/units.ts";
import type { CodeTable, LogicalFrame } from "./code-table.ts";
import type { GoRuntime } from "./runtime.ts";
import { wrappedFunction } from "./wrapped-function.ts";

/**
 * The function that a go statement started, from g.startpc: never a wrapper that the compiler made for `go f(x)` or
 * `go v.method()`, but what that calls. `stack` is the goroutine's, innermost first and without wrappers, as far as
 * it is known. Undefined where nothing tells.
 */
export function startFunction(
  runtime: GoRuntime,
  code: CodeTable,
  pc: Address,
  stack: readonly LogicalFrame[],
): LogicalFrame | undefined {
  const declared = code.declaration(pc);
  if (!declared?.wrapper) return declared;
  const called = wrappedFunction(runtime, code, pc);
  if (called && !called.wrapper) return called;
  return stack.at(-1);
}
