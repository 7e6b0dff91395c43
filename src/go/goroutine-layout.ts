import { ProcscopeError } from "../base/errors.ts";
import type { Layout, RuntimeStruct } from "./layout.ts";
import type { GoRuntime } from "./runtime.ts";

/** Places of the fields of runtime.g (runtime/runtime2.go) in bytes; -1 where this version has none. */
export interface GoroutineLayout {
  readonly stackLow: number;
  readonly stackHigh: number;
  readonly thread: number;
  readonly sp: number;
  readonly pc: number;
  readonly self: number;
  readonly syscallSp: number;
  readonly syscallPc: number;
  readonly status: number;
  readonly id: number;
  readonly waitSince: number;
  readonly waitReason: number;
  readonly lockedThread: number;
  readonly creationPc: number;
  readonly parentId: number;
  readonly startPc: number;
  readonly labels: number;
  /** g.bubble (Go 1.25) or g.syncGroup (Go 1.24). */
  readonly bubble: number;
  readonly runningCleanups: number;
  /** How many bytes of a g hold all of these; a multiple of 8. */
  readonly length: number;
  /** How many bytes hold what {@link GoroutineTable.unchanged} compares; a multiple of 8. */
  readonly checkLength: number;
}

/** Throws UNSUPPORTED_TARGET where a field that no version lacks is missing. */
export function goroutineLayout(runtime: GoRuntime): GoroutineLayout {
  const { layout } = runtime;
  const need = (path: string): number => requiredOffset(layout, "g", path);
  const maybe = (path: string): number => layout.field("g", path)?.offset ?? -1;
  const fields = {
    stackLow: need("stack.lo"),
    stackHigh: need("stack.hi"),
    thread: need("m"),
    sp: need("sched.sp"),
    pc: need("sched.pc"),
    self: need("sched.g"),
    syscallSp: need("syscallsp"),
    syscallPc: need("syscallpc"),
    status: need("atomicstatus"),
    id: need("goid"),
    waitSince: need("waitsince"),
    waitReason: need("waitreason"),
    creationPc: need("gopc"),
    startPc: need("startpc"),
    lockedThread: maybe("lockedm"),
    parentId: maybe("parentGoid"),
    labels: maybe("labels"),
    bubble: Math.max(maybe("bubble"), maybe("syncGroup")),
    runningCleanups: maybe("runningCleanups"),
  };
  const { stackLow, stackHigh, sp, pc, syscallSp, status, id } = fields;
  return {
    ...fields,
    length: roundUp(Math.max(...Object.values(fields)) + 8),
    checkLength: roundUp(Math.max(stackLow, stackHigh, sp, pc, syscallSp, status, id) + 8),
  };
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

/** A field's offset; throws UNSUPPORTED_TARGET where the layout has none. */
export function requiredOffset(layout: Layout, struct: RuntimeStruct, path: string): number {
  const field = layout.field(struct, path);
  if (field && field.offset >= 0 && field.offset < 1 << 16) return field.offset;
  throw new ProcscopeError(
    "UNSUPPORTED_TARGET",
    `the layout (${layout.source}) does not have runtime.${struct}.${path}`,
    {
      hint: "procscope doctor --pid N shows what is known about this program",
    },
  );
}
