import type { DwarfStruct, DwarfTypes } from "../object/dwarf.ts";
import { type Field, MapLayout, type RuntimeStruct, runtimeStructs, type StructFields } from "./layout.ts";

/** The layout of a program's own runtime as its debugging information has it. Throws MALFORMED. */
export function layoutOfDwarf(types: DwarfTypes): MapLayout {
  const names = new Map(runtimeStructs.map((name) => [`runtime.${name}`, name]));
  const structs = new Map<RuntimeStruct, StructFields>();
  for (const [name, struct] of types.find(new Set(names.keys()))) structs.set(names.get(name)!, flatten(struct));
  for (const [name, struct] of types.ofVariables(new Set(ofVariables.keys()))) {
    const type = ofVariables.get(name)!;
    if (!structs.has(type)) structs.set(type, flatten(struct));
  }
  return new MapLayout("DWARF", true, (struct) => structs.get(struct));
}

/** Types that are or were without a name of their own: known as those of a variable. */
const ofVariables: ReadonlyMap<string, RuntimeStruct> = new Map([
  ["runtime.work", "workType"],
  ["runtime.debug", "debugVars"],
  ["runtime.ticks", "ticksType"],
]);

/** Fields of fields are listed to this depth: mheap_.spanalloc.inuse, mstats.heapStats.stats, gcController.assist…. */
const depth = 2;

function flatten(struct: DwarfStruct): StructFields {
  const fields = new Map<string, Field>([["", { offset: 0, size: struct.size }]]);
  addMembers(fields, struct, "", 0, depth);
  return fields;
}

function addMembers(
  fields: Map<string, Field>,
  struct: DwarfStruct,
  prefix: string,
  base: number,
  levels: number,
): void {
  for (const member of struct.members) {
    // The blank field, and what an atomic or a lock is made of, is nobody's business.
    if (member.name === "_" || member.size === 0) continue;
    const offset = base + member.offset;
    fields.set(prefix + member.name, { offset, size: member.size });
    const inner = member.struct;
    if (levels > 1 && inner && !/^\[\]|^string$|[/.]atomic\.|lockRank/.test(inner.name))
      addMembers(fields, inner, `${prefix}${member.name}.`, offset, levels - 1);
  }
}
