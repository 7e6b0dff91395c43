import { tryRead } from "../base/memory-reader.ts";
import type { Address } from "../base/units.ts";
import type { CodeTable, LogicalFrame } from "./code-table.ts";
import type { GoRuntime } from "./runtime.ts";

/** Wrappers are short: they load what the closure holds and call. */
const longestWrapper = 1024;
/** CALL rel32 (Intel SDM volume 2A). */
const callOpcode = 0xe8;

/**
 * The function that a wrapper of the compiler calls ("main.main.gowrap1" for `go f(x)`): inlined into it, or called by
 * its code. Undefined where the call goes through a pointer.
 */
export function wrappedFunction(runtime: GoRuntime, code: CodeTable, entry: Address): LogicalFrame | undefined {
  const wrapper = code.functionAt(entry);
  if (!wrapper) return undefined;
  let length = 0;
  for (; length < longestWrapper && code.functionAt(wrapper.entry + length) === wrapper; length++) {
    const point = code.point(wrapper.entry + length, true);
    const frames = point ? code.frames(point) : [];
    if (frames.length > 1) return frames.at(-2);
  }
  return calledFunction(runtime, code, wrapper.entry, length);
}

/**
 * The function with the go statement of a goroutine. The main goroutine is begun by assembly (runtime.rt0_go) by way of
 * a wrapper between calling conventions since Go 1.17: then the place in the assembly.
 */
export function creatingFunction(runtime: GoRuntime, code: CodeTable, pc: Address): LogicalFrame | undefined {
  const frame = code.creation(pc);
  if (!frame?.wrapper) return frame;
  for (const { pclntab } of runtime.modules)
    for (const { name, entry, size } of pclntab.functions("runtime.rt0_go"))
      if (name === "runtime.rt0_go" || name === "runtime.rt0_go.abi0")
        return callOf(runtime, code, entry, Math.min(size, longestWrapper), frame.entry) ?? frame;
  return frame;
}

/** The frame of the instruction that calls `callee`. */
function callOf(
  runtime: GoRuntime,
  code: CodeTable,
  start: Address,
  length: number,
  callee: Address,
): LogicalFrame | undefined {
  const bytes = tryRead(runtime.memory, start, length);
  if (!bytes) return undefined;
  for (let at = 0; at + 5 <= length; at++)
    if (bytes[at] === callOpcode && start + at + 5 + bytes.readInt32LE(at + 1) === callee)
      return code.creation(start + at + 5);
  return undefined;
}

function calledFunction(runtime: GoRuntime, code: CodeTable, start: Address, length: number): LogicalFrame | undefined {
  const bytes = tryRead(runtime.memory, start, length);
  if (!bytes) return undefined;
  for (let at = 0; at + 5 <= length; at++) {
    if (bytes[at] !== callOpcode) continue;
    const target = start + at + 5 + bytes.readInt32LE(at + 1);
    const fn = code.functionAt(target);
    // Growing the stack is no call of what is wrapped; the byte may also stand within another instruction.
    if (fn?.entry === target && !fn.name.startsWith("runtime.")) return code.declaration(target);
  }
  return undefined;
}
