import type { Address, Bytes } from "../base/units.ts";
import { type ArgumentPlan, argumentPlan } from "./arguments.ts";
import { ConstantData } from "./constant-data.ts";
import type { GoModule } from "./module.ts";
import type { PcFunction } from "./pclntab.ts";
import { type GoRuntime, moduleOf } from "./runtime.ts";
import {
  inlineTreeData,
  inlineTreeIndex,
  panicFunctions,
  printedName,
  shownByName,
  type TracebackRules,
  topFunctions,
} from "./traceback-rules.ts";

/** A function call as the source has it; several of them share a physical frame where the compiler inlined. */
export interface LogicalFrame {
  /** As tracebacks print it: "main.(*box[...]).wait". */
  readonly function: string;
  readonly file: string;
  readonly line: number;
  readonly inlined: boolean;
  /** The instruction of its call. */
  readonly pc: Address;
  /** The entry of the physical function. */
  readonly entry: Address;
  /** A wrapper that the compiler made. */
  readonly wrapper: boolean;
  /** Whether wrappers that call it are shown: it panics. */
  readonly panics: boolean;
  readonly gopanic: boolean;
  /** Whether tracebacks show it wherever it stands; undefined: it depends, see {@link shows}. */
  readonly shown: boolean;
}

/** How unwinding goes on above a frame. */
export type StackEnd = "goes on" | "top" | "writes sp" | "no frame";

/** An address in the code at which a frame stands, with everything that does not depend on the stack. */
export interface CodePoint {
  readonly pc: Address;
  readonly module: GoModule;
  readonly fn: PcFunction;
  /** Bytes from the stack pointer to the return address. */
  readonly frameSize: Bytes;
  readonly end: StackEnd;
  /** Whether the caller's pc is where it was interrupted instead of a return address. */
  readonly injected: boolean;
  /** Whether `pc` itself is such an address. */
  readonly exact: boolean;
}

/** More code points than any program's goroutines stand at; what goes beyond is garbage that the target made. */
const mostPoints = 1 << 18;
/** Bounds a malformed inline tree. */
const deepestInlining = 256;

/** Looks at each program counter once: its function, frame size, inlined calls, arguments. */
export class CodeTable {
  readonly rules: TracebackRules;
  private readonly runtime: GoRuntime;
  private readonly data: ConstantData;
  private readonly returns = new Map<Address, CodePoint | undefined>();
  private readonly interrupted = new Map<Address, CodePoint | undefined>();
  private readonly frameLists = new Map<CodePoint, readonly LogicalFrame[]>();
  private readonly plans = new Map<CodePoint, ArgumentPlan>();
  private readonly creations = new Map<Address, LogicalFrame | undefined>();
  private readonly entries = new Map<Address, PcFunction | undefined>();

  constructor(runtime: GoRuntime, rules: TracebackRules) {
    this.runtime = runtime;
    this.rules = rules;
    this.data = new ConstantData(runtime.memory);
  }

  /** The code point of a frame; `exact` where pc is not a return address. Undefined where there is no Go code. */
  point(pc: Address, exact: boolean): CodePoint | undefined {
    const cache = exact ? this.interrupted : this.returns;
    const known = cache.get(pc);
    if (known !== undefined || cache.has(pc)) return known;
    if (cache.size >= mostPoints) this.clear();
    const made = this.make(pc, exact);
    cache.set(pc, made);
    return made;
  }

  private clear(): void {
    for (const cache of [this.returns, this.interrupted, this.frameLists, this.plans]) cache.clear();
  }

  private make(pc: Address, exact: boolean): CodePoint | undefined {
    const module = moduleOf(this.runtime, pc);
    const fn = module?.pclntab.find(pc);
    if (!module || !fn) return undefined;
    const size = module.pclntab.frameSize(fn, pc);
    const injected = this.rules.injected.has(fn.name);
    if (size === undefined || size < 0) return { pc, module, fn, frameSize: 0, end: "no frame", injected, exact };
    return { pc, module, fn, frameSize: size, end: this.endOf(fn), injected, exact };
  }

  private endOf(fn: PcFunction): StackEnd {
    if (!this.rules.functionFlags) return topFunctions.has(fn.name) ? "top" : "goes on";
    if ((fn.flag & 1) !== 0) return "top";
    // cgocallback writes SP, but both of its stacks can be unwound at every instruction.
    return (fn.flag & 2) !== 0 && fn.name !== "runtime.cgocallback" ? "writes sp" : "goes on";
  }

  /** The logical frames of a physical one, innermost first; the last one is the physical function's own. */
  frames(point: CodePoint): readonly LogicalFrame[] {
    let frames = this.frameLists.get(point);
    if (frames === undefined) {
      frames = this.expand(point).frames;
      this.frameLists.set(point, frames);
    }
    return frames;
  }

  /** How the physical function's arguments are printed. */
  arguments(point: CodePoint): ArgumentPlan {
    let plan = this.plans.get(point);
    if (plan === undefined) {
      const pc = this.rules.livenessAtCall ? callPc(point) : this.expand(point).pc;
      plan = argumentPlan(this.data, this.rules, point.module, point.fn, pc);
      this.plans.set(point, plan);
    }
    return plan;
  }

  private expand(point: CodePoint): { frames: LogicalFrame[]; pc: Address } {
    const { fn, module } = point;
    const { pclntab } = module;
    const frames: LogicalFrame[] = [];
    const tree = pclntab.funcData(fn, inlineTreeData);
    let pc = callPc(point);
    for (let depth = 0; tree !== 0 && depth < deepestInlining; depth++) {
      const index = pclntab.pcData(fn, inlineTreeIndex, pc);
      if (index < 0) break;
      const call = this.inlinedCall(module, tree, index);
      if (!call) break;
      const { file, line } = pclntab.position(fn, pc);
      frames.push({ ...this.logical(call.name, call.functionId, file, line), inlined: true, pc, entry: fn.entry });
      pc = fn.entry + call.parentPc;
    }
    const { file, line } = pclntab.position(fn, pc);
    frames.push({ ...this.logical(fn.name, fn.funcId, file, line), pc, entry: fn.entry });
    return { frames, pc };
  }

  private inlinedCall(module: GoModule, tree: Address, index: number) {
    const { size, functionId, name, parentPc } = this.rules.inlinedCall;
    const entry = this.data.read(tree + size * index, size);
    if (entry.length < size) return undefined;
    return {
      name: module.pclntab.nameAt(entry.readInt32LE(name)),
      functionId: entry[functionId]!,
      parentPc: entry.readInt32LE(parentPc),
    };
  }

  private logical(name: string, functionId: number, file: string, line: number): LogicalFrame {
    const { rules } = this;
    return {
      function: printedName(name, rules),
      file,
      line,
      inlined: false,
      pc: 0,
      entry: 0,
      wrapper: functionId === rules.wrapperId,
      panics: panicFunctions.has(name),
      gopanic: name === "runtime.gopanic",
      shown: rules.alwaysShown.has(name) || shownByName(name, rules),
    };
  }

  /** The function that holds a go statement, at that statement, from g.gopc (runtime printcreatedby1). */
  creation(pc: Address): LogicalFrame | undefined {
    const known = this.creations.get(pc);
    if (known !== undefined || this.creations.has(pc)) return known;
    const module = moduleOf(this.runtime, pc);
    const fn = module?.pclntab.find(pc);
    let frame: LogicalFrame | undefined;
    if (module && fn) {
      const call = pc > fn.entry ? pc - this.runtime.architecture.pcQuantum : pc;
      const { file, line } = module.pclntab.position(fn, call);
      frame = { ...this.logical(fn.name, fn.funcId, file, line), pc: call, entry: fn.entry };
    }
    if (this.creations.size >= mostPoints) this.creations.clear();
    this.creations.set(pc, frame);
    return frame;
  }

  /** The physical function that holds an address, looked up once for each address. */
  functionAt(pc: Address): PcFunction | undefined {
    const known = this.entries.get(pc);
    if (known !== undefined || this.entries.has(pc)) return known;
    const fn = moduleOf(this.runtime, pc)?.pclntab.find(pc);
    if (this.entries.size >= mostPoints) this.entries.clear();
    this.entries.set(pc, fn);
    return fn;
  }

  /** A function at its first line. */
  declaration(pc: Address): LogicalFrame | undefined {
    const module = moduleOf(this.runtime, pc);
    const fn = this.functionAt(pc);
    if (!module || !fn) return undefined;
    const { file, line } = module.pclntab.position(fn, fn.entry);
    const declared = fn.startLine > 0 ? fn.startLine : line;
    return { ...this.logical(fn.name, fn.funcId, file, declared), pc: fn.entry, entry: fn.entry };
  }
}

/** The instruction to look positions up at: the call before a return address (runtime unwinder.symPC). */
function callPc(point: CodePoint): Address {
  return !point.exact && point.pc > point.fn.entry ? point.pc - 1 : point.pc;
}

/** Whether a traceback shows a frame (runtime showfuncinfo). `callee`: the logical frame that it called. */
export function shows(frame: LogicalFrame, first: boolean, callee: LogicalFrame | undefined): boolean {
  if (frame.wrapper && !callee?.panics) return false;
  return frame.shown || (frame.gopanic && !first);
}
