/**
 * The generated tables of layouts/: where fields lie in the runtime of each released Go version, and which functions
 * refer to which global. They are written by tools/generate-layouts.ts and never by hand.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ProcscopeError } from "../base/errors.ts";
import { packageRoot } from "../base/package-root.ts";
import type { Architecture } from "./architecture.ts";
import type { GoVersion } from "./build-info.ts";
import { type Field, MapLayout, type RuntimeStruct, type StructFields } from "./layout.ts";
import type { RuntimeGlobal } from "./runtime.ts";

/** One step of the table: what is different from the row before it. */
export interface LayoutRow {
  /** The first patch release that this layout was measured on, and the last one: "1.23.0". */
  readonly from: string;
  readonly through: string;
  /**
   * By structure what {@link fieldsText} wrote: texts, because JSON of four thousand small arrays takes 4 ms to parse,
   * and one attach asks for few of the structures.
   */
  readonly fields: { readonly [struct: string]: string };
}

export interface LayoutTable {
  readonly architecture: string;
  readonly rows: readonly LayoutRow[];
  /** Versions with a table of references, oldest first. */
  readonly references: readonly string[];
}

/** Offsets within a global that each function refers to, by global and function: {allgs: {"runtime.allgadd": [0, 8]}}. */
export type References = { readonly [global: string]: { readonly [witness: string]: readonly number[] } };

const tables = new Map<string, LayoutTable>();

/** Throws INTERNAL where the package is incomplete, UNSUPPORTED_TARGET for an architecture without tables. */
function tableOf(architecture: Architecture): LayoutTable {
  const known = tables.get(architecture.name);
  if (known) return known;
  const table = readTable<LayoutTable>(`${architecture.name}.json`);
  if (!table) {
    throw new ProcscopeError("UNSUPPORTED_TARGET", `Go programs for ${architecture.name} cannot be read yet`, {
      hint: "supported is amd64",
    });
  }
  tables.set(architecture.name, table);
  return table;
}

function readTable<T>(name: string): T | undefined {
  try {
    return JSON.parse(readFileSync(join(packageRoot, "layouts", name), "utf8")) as T;
  } catch {
    return undefined;
  }
}

/** A release as one number, to compare: minor × 1000 + patch. */
export function releaseNumber(text: string): number {
  const [, minor = "0", patch = "0"] = text.replace(/^go/, "").split(".");
  return Number(minor) * 1000 + Number(patch);
}

/**
 * The layout of a version: exact where it lies between two measured releases of the same layout, otherwise that of the
 * nearest measured release, which the caller must check before it is believed.
 */
export function layoutOfTable(architecture: Architecture, version: GoVersion): MapLayout {
  const { rows } = tableOf(architecture);
  const wanted = version.minor * 1000 + version.patch;
  let chosen = 0;
  rows.forEach((row, index) => {
    if (distance(row, wanted) < distance(rows[chosen]!, wanted)) chosen = index;
  });
  const row = rows[chosen]!;
  const exact = version.release && distance(row, wanted) === 0;
  const span = row.from === row.through ? `go${row.from}` : `go${row.from} to go${row.through}`;
  const key = `${architecture.name} ${chosen} ${exact}`;
  let layout = layouts.get(key);
  if (layout === undefined) {
    layout = new MapLayout(`table of ${span}`, exact, upTo(rows, chosen));
    layouts.set(key, layout);
  }
  return layout;
}

/** By architecture, row and whether exact: all processes of one version share theirs. */
const layouts = new Map<string, MapLayout>();

/** The layouts of all rows, newest first: for a program whose version tells nothing. */
export function* allLayouts(architecture: Architecture): Generator<MapLayout> {
  const { rows } = tableOf(architecture);
  for (let i = rows.length - 1; i >= 0; i--)
    yield new MapLayout(`table of go${rows[i]!.from} to go${rows[i]!.through}`, false, upTo(rows, i));
}

function distance(row: LayoutRow, release: number): number {
  const from = releaseNumber(row.from);
  const through = releaseNumber(row.through);
  if (release >= from && release <= through) return 0;
  // The same minor is nearer than any other: its numbers differ by less than 1000.
  return release < from ? from - release : release - through;
}

/** Fields of a structure as the table holds them: "path offset size" or, of one that is gone, "path -", by commas. */
export function fieldsText(fields: ReadonlyMap<string, Field | null>): string {
  return [...fields].map(([path, field]) => (field ? `${path} ${field.offset} ${field.size}` : `${path} -`)).join(",");
}

/** The structures after all changes up to and with row `last`, each made when it is first asked for. */
function upTo(rows: readonly LayoutRow[], last: number): (struct: RuntimeStruct) => StructFields {
  return (struct) => {
    const fields = new Map<string, Field>();
    for (const row of rows.slice(0, last + 1)) {
      const changes = row.fields[struct];
      if (changes === undefined) continue;
      for (const change of changes.split(",")) {
        const [path, offset, size] = change.split(" ") as [string, string, string];
        if (offset === "-") fields.delete(path);
        else fields.set(path, { offset: Number(offset), size: Number(size) });
      }
    }
    return fields;
  };
}

/** The references of the nearest version, and whether it is the same minor. */
export function referencesOf(
  architecture: Architecture,
  version: GoVersion,
): { references: References; version: string; near: boolean } | undefined {
  const { references } = tableOf(architecture);
  const wanted = version.minor * 1000 + version.patch;
  const nearest = [...references].sort(
    (a, b) => Math.abs(releaseNumber(a) - wanted) - Math.abs(releaseNumber(b) - wanted),
  )[0];
  if (nearest === undefined) return undefined;
  const table = readTable<References>(`${architecture.name}-references-${nearest}.json`);
  return (
    table && {
      references: table,
      version: nearest,
      near: Math.floor(releaseNumber(nearest) / 1000) === version.minor,
    }
  );
}

/** The names under which a global may be found in a symbol table: some moved to other packages. */
export function symbolNames(global: RuntimeGlobal): readonly string[] {
  return global === "class_to_size"
    ? ["runtime.class_to_size", "internal/runtime/gc.SizeClassToSize"]
    : [`runtime.${global}`];
}
