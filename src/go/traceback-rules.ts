/**
 * How a traceback of one Go version differs from another's (runtime/traceback.go): the one place that knows version
 * numbers. Everything else asks the rules, or whether a field exists.
 */

export interface TracebackRules {
  /** Frames shown from the inner and the outer end before the rest is elided: tracebackInnerFrames (since Go 1.21). */
  readonly ends: { readonly inner: number; readonly outer: number } | undefined;
  /** Physical frames after which a traceback ends: _TracebackMaxFrames (before Go 1.21). */
  readonly most: number;
  /** Whether `[go.shape.int]` is printed as `[...]`, and whether a method's own type arguments are told apart. */
  readonly genericNames: "whole" | "shortened" | "shortened twice";
  /** Whether (*T).Method of an exported type is exported (since Go 1.23). */
  readonly exportedMethods: boolean;
  /** Functions of the runtime that are shown all the same. */
  readonly alwaysShown: ReadonlySet<string>;
  /** FuncID of wrappers that the compiler made (internal/abi FuncIDWrapper). */
  readonly wrapperId: number;
  /** Whether functions carry flags that tell where a stack ends (since Go 1.17); by name before. */
  readonly functionFlags: boolean;
  /** Functions whose caller stopped at an instruction, not after a call: its pc is not a return address. */
  readonly injected: ReadonlySet<string>;
  /** An entry of the inline tree (runtime.inlinedCall): its size and the places of its members, in bytes. */
  readonly inlinedCall: {
    readonly size: number;
    readonly functionId: number;
    readonly name: number;
    readonly parentPc: number;
  };
  /** FUNCDATA_ArgInfo, or undefined where arguments are printed as words. */
  readonly argumentInfo: number | undefined;
  /** FUNCDATA_ArgLiveInfo, or undefined where stale arguments are not marked. */
  readonly argumentLiveness: number | undefined;
  /** Whether liveness is looked up at the call (since Go 1.21) or at the outermost inlined call's position. */
  readonly livenessAtCall: boolean;
  /** Whether a goroutine that is on its way out of a system call has a stack (since Go 1.26). */
  readonly leavingSyscall: boolean;
  /** Where a header has labels: nowhere, before or behind the closing bracket. */
  readonly labels: "none" | "inside" | "behind";
  /** What GODEBUG=tracebacklabels is where it is not set. */
  readonly labelsByDefault: boolean;
  /** Whether only a waiting goroutine of a synctest bubble is called durably blocked (since Go 1.26). */
  readonly durableWaitingOnly: boolean;
}

/** FUNCDATA_InlTree and PCDATA_InlTreeIndex, PCDATA_ArgLiveIndex (internal/abi/symtab.go): the same since Go 1.16. */
export const inlineTreeData = 3;
export const inlineTreeIndex = 2;
export const argumentLiveIndex = 3;

/** Where a stack ends before Go 1.17 (runtime/traceback.go topofstack). */
export const topFunctions: ReadonlySet<string> = new Set([
  "runtime.goexit",
  "runtime.mstart",
  "runtime.mcall",
  "runtime.morestack",
  "runtime.rt0_go",
  "runtime.externalthreadhandler",
]);

/** Callees that keep a wrapper from being hidden: it panicked instead of calling what it wraps. */
export const panicFunctions: ReadonlySet<string> = new Set([
  "runtime.gopanic",
  "runtime.sigpanic",
  "runtime.panicwrap",
]);

const go116: TracebackRules = {
  ends: undefined,
  most: 100,
  genericNames: "whole",
  exportedMethods: false,
  alwaysShown: new Set(),
  wrapperId: 22,
  functionFlags: false,
  injected: new Set(["runtime.sigpanic"]),
  inlinedCall: { size: 20, functionId: 2, name: 12, parentPc: 16 },
  argumentInfo: undefined,
  argumentLiveness: undefined,
  livenessAtCall: false,
  leavingSyscall: false,
  labels: "none",
  labelsByDefault: false,
  durableWaitingOnly: false,
};

/** What changed with which minor version, oldest first. */
const changes: readonly (readonly [minor: number, change: Partial<TracebackRules>])[] = [
  [17, { functionFlags: true, argumentInfo: 5 }],
  [18, { argumentLiveness: 6, wrapperId: 21 }],
  [20, { inlinedCall: { size: 16, functionId: 0, name: 4, parentPc: 8 } }],
  [
    21,
    {
      ends: { inner: 50, outer: 50 },
      genericNames: "shortened",
      livenessAtCall: true,
      injected: new Set(["runtime.sigpanic", "runtime.asyncPreempt", "runtime.debugCallV2"]),
    },
  ],
  [22, { wrapperId: 22 }],
  [23, { exportedMethods: true }],
  [25, { wrapperId: 23, alwaysShown: new Set(["runtime.runFinalizers", "runtime.runCleanups"]) }],
  [26, { leavingSyscall: true, labels: "inside", durableWaitingOnly: true }],
  [27, { genericNames: "shortened twice", labels: "behind", labelsByDefault: true }],
];

/** The rules of a minor version; a version that is newer than all we know has the newest rules. */
export function tracebackRules(minor: number): TracebackRules {
  let rules = go116;
  for (const [since, change] of changes) if (minor >= since) rules = { ...rules, ...change };
  return rules;
}

/** A function's name as tracebacks print it: without the shapes of type arguments (runtime funcNameForPrint). */
export function printedName(name: string, rules: TracebackRules): string {
  if (rules.genericNames === "whole") return name;
  const open = name.indexOf("[");
  const close = name.lastIndexOf("]");
  if (open < 0 || close <= open) return name;
  const inside = name.slice(open + 1, close);
  const single = `${name.slice(0, open)}[...]${name.slice(close + 1)}`;
  if (rules.genericNames === "shortened" || !inside.includes("[")) return single;
  return genericMethodName(name, open, close, inside) ?? name;
}

/** `T[shape].Method[shape]`: both brackets are shortened; undefined where brackets do not balance. */
function genericMethodName(name: string, open: number, close: number, inside: string): string | undefined {
  let depth = 1;
  let right = -1;
  let left = -1;
  for (let k = 0; k < inside.length; k++) {
    const c = inside[k];
    if (c === "[") {
      depth++;
      if (depth !== 1) continue;
      left = k;
      break;
    }
    if (c === "]") {
      depth--;
      if (depth < 0) break;
      if (depth === 0) right = k;
    }
  }
  if (depth !== 1) return undefined;
  const [before, after] = [name.slice(0, open), name.slice(close + 1)];
  if (right >= 0 && left > right) return `${before}[...]${inside.slice(right + 1, left)}[...]${after}`;
  return right === -1 && left === -1 ? `${before}[...]${after}` : undefined;
}

/** Whether tracebacks show a function by its name alone: not the runtime's unexported ones (showfuncinfo). */
export function shownByName(name: string, rules: TracebackRules): boolean {
  return name.includes(".") && (!name.startsWith("runtime.") || isExportedRuntime(name.slice(8), rules));
}

function isExportedRuntime(name: string, rules: TracebackRules): boolean {
  if (!rules.exportedMethods) return isUpper(name, 0);
  const dot = name.lastIndexOf(".");
  if (dot < 0) return isUpper(name, 0);
  const receiver = name.slice(0, dot).replace(/^\(\*(.*)\)$/s, "$1");
  return isUpper(name, dot + 1) && (receiver === "" || isUpper(receiver, 0));
}

function isUpper(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code >= 65 && code <= 90;
}
