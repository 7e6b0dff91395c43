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
  private readonly make: (struct: RuntimeStruct) => StructFields | undefined;
  private readonly made = new Map<RuntimeStruct, StructFields>();

  /** `make` is asked once for each structure that is looked at. */
  constructor(source: string, exact: boolean, make: (struct: RuntimeStruct) => StructFields | undefined) {
    this.source = source;
    this.exact = exact;
    this.make = make;
  }

  field(struct: RuntimeStruct, path: string): Field | undefined {
    return this.fields(struct).get(path);
  }

  sizeOf(struct: RuntimeStruct): Bytes | undefined {
    return this.fields(struct).get("")?.size;
  }

  /** All fields of a structure; none where the version has no such structure. */
  fields(struct: RuntimeStruct): StructFields {
    let fields = this.made.get(struct);
    if (fields === undefined) {
      fields = this.make(struct) ?? new Map();
      this.made.set(struct, fields);
    }
    return fields;
  }

  /** The same with some fields of one structure replaced: for what was inferred. */
  with(struct: RuntimeStruct, fields: StructFields, source: string): MapLayout {
    const replaced = new Map([...this.fields(struct), ...fields]);
    return new MapLayout(source, false, (other) => (other === struct ? replaced : this.fields(other)));
  }
}
