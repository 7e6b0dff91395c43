import type { Address } from "../base/units.ts";
import type { Pclntab } from "./pclntab.ts";

/** runtime.moduledata (runtime/symtab.go), relocated: where one module's code, data and tables lie in the target. */
export interface GoModule {
  /** Where the moduledata structure itself lies. */
  readonly address: Address;
  readonly text: Address;
  readonly etext: Address;
  /** Base of function data offsets since Go 1.18; 0 before (they were absolute then). */
  readonly gofunc: Address;
  readonly noptrdata: Address;
  readonly enoptrdata: Address;
  readonly data: Address;
  readonly edata: Address;
  readonly bss: Address;
  readonly ebss: Address;
  readonly noptrbss: Address;
  readonly enoptrbss: Address;
  readonly end: Address;
  /** Base of type descriptors. */
  readonly types: Address;
  readonly etypes: Address;
  /** Start of read-only data since Go 1.18; 0 before. */
  readonly rodata: Address;
  readonly pclntab: Pclntab;
}
