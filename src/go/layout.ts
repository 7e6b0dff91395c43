import type { Bytes } from "../base/units.ts";

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
export const runtimeStructs = [
  "g",
  "m",
  "p",
  "schedt",
  "sudog",
  "hchan",
  "moduledata",
  "mheap",
  "mspan",
  "mcache",
  "mstats",
  "heapStatsDelta",
  "gcControllerState",
  "bucket",
  "memRecord",
  "memRecordCycle",
  "blockRecord",
  "MemStats",
  "timer",
  "semaRoot",
  "mutex",
  "workType",
  "debugVars",
  "ticksType",
] as const;

export type RuntimeStruct = (typeof runtimeStructs)[number];

/** The fields of one structure: [offset, size] by path; a whole structure's size is under "". */
export type StructFields = ReadonlyMap<string, Field>;

/** A layout made of maps: what DWARF and the tables both become. */
export class MapLayout implements Layout {
  readonly source: string;
  readonly exact: boolean;
  private readonly structs: ReadonlyMap<RuntimeStruct, StructFields>;

  constructor(source: string, exact: boolean, structs: ReadonlyMap<RuntimeStruct, StructFields>) {
    this.source = source;
    this.exact = exact;
    this.structs = structs;
  }

  field(struct: RuntimeStruct, path: string): Field | undefined {
    return this.structs.get(struct)?.get(path);
  }

  sizeOf(struct: RuntimeStruct): Bytes | undefined {
    return this.structs.get(struct)?.get("")?.size;
  }

  /** All fields of a structure, for tools. */
  fields(struct: RuntimeStruct): StructFields {
    return this.structs.get(struct) ?? new Map();
  }

  /** The same with some fields of one structure replaced: for what was inferred. */
  with(struct: RuntimeStruct, fields: StructFields, source: string): MapLayout {
    const structs = new Map(this.structs);
    structs.set(struct, new Map([...(this.structs.get(struct) ?? []), ...fields]));
    return new MapLayout(source, false, structs);
  }
}
