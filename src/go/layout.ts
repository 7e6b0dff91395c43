/**
 * Where the fields of runtime structures lie, for one Go version and architecture. Comes from the target's own DWARF,
 * from the generated tables in layouts/, or from inference; whichever it is, it is checked against memory before use.
 */
export interface Field {
  /** Bytes from the start of the structure. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
}

export interface Layout {
  /** Where it came from: "DWARF", "table go1.26.0", "inferred". */
  readonly source: string;
  /** True where the source was made for exactly this version. */
  readonly exact: boolean;
  /** A field by struct and path as the runtime spells them: field("g", "sched.sp"). Undefined where the version has none. */
  field(struct: RuntimeStruct, path: string): Field | undefined;
  /** The size of a structure in bytes, or undefined where unknown. */
  sizeOf(struct: RuntimeStruct): number | undefined;
}

/** The structures that tables hold, by the runtime's names without the package. */
export type RuntimeStruct =
  | "g"
  | "m"
  | "p"
  | "schedt"
  | "sudog"
  | "hchan"
  | "moduledata"
  | "mheap"
  | "mspan"
  | "mcache"
  | "mstats"
  | "heapStatsDelta"
  | "gcControllerState"
  | "bucket"
  | "memRecord"
  | "memRecordCycle"
  | "blockRecord"
  | "MemStats"
  | "timer"
  | "semaRoot"
  | "mutex"
  | "workType"
  | "debugVars";
