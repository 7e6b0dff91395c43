import type { Address } from "../base/units.ts";

/**
 * Function tables of one module (runtime/symtab.go, cmd/link/internal/ld/pcln.go), copied from memory once: names,
 * entries, frame sizes, files, lines, inlining. Formats of Go 1.2, 1.16, 1.18 and 1.20 and later.
 *
 * A PcFunction is a small value made per function, not per frame; callers cache by program counter.
 */
export interface Pclntab {
  readonly functionCount: number;
  /** The function whose code holds `pc`, or undefined outside of this module's text. */
  find(pc: Address): PcFunction | undefined;
  /** All functions in address order: for looking one up by name, for reference witnesses. */
  functions(): Iterable<{ readonly name: string; readonly entry: Address; readonly size: number }>;
  /** A name by its offset in the name table (inline trees hold such offsets). */
  nameAt(offset: number): string;
  /** PC-value table `table` of a function at `pc`; -1 where it has no value there. */
  pcValue(fn: PcFunction, table: number, pc: Address): number;
  /** PCDATA table `index` at `pc`, -1 where there is none (internal/abi PCDATA_*). */
  pcData(fn: PcFunction, index: number, pc: Address): number;
  /** The address of FUNCDATA `index` (internal/abi FUNCDATA_*), 0 where there is none. */
  funcData(fn: PcFunction, index: number): Address;
  /** Frame size in bytes at `pc`: how far the stack pointer is below the caller's return address; undefined where unknown. */
  frameSize(fn: PcFunction, pc: Address): number | undefined;
  /** Source position of physical code at `pc` (the innermost inlined call's position). File "?" and line 0 where unknown. */
  position(fn: PcFunction, pc: Address): { readonly file: string; readonly line: number };
}

export interface PcFunction {
  readonly name: string;
  readonly entry: Address;
  /** Bytes of arguments (runtime._func.args); ArgsSizeUnknown is -0x80000000. */
  readonly argsSize: number;
  /** internal/abi.FuncID; its numbers moved between versions. */
  readonly funcId: number;
  /** internal/abi.FuncFlag: 1 top of stack, 2 writes SP, 4 assembly; 0 before Go 1.17. */
  readonly flag: number;
  /** Line of the func keyword since Go 1.20, 0 before. */
  readonly startLine: number;
  /** Places of this function's pc-value tables, for {@link Pclntab.pcValue}. */
  readonly pcsp: number;
  readonly pcfile: number;
  readonly pcln: number;
  /** Where its record lies in the table. */
  readonly record: number;
}
