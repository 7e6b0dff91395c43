/**
 * Makes layouts/: where the fields of runtime structures lie in each Go release (from the debugging information of a
 * program built with it), and which functions refer to which global (from the symbols and code of that program). A new
 * Go version is supported by adding it to `releases` and running this:
 *
 *     npm run build && node dist/tools/generate-layouts.js
 *
 * Toolchains come through the go command and stay in its module cache.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../src/base/package-root.ts";
import { amd64 } from "../src/go/architecture.ts";
import { type Field, type MapLayout, type RuntimeStruct, runtimeStructs } from "../src/go/layout.ts";
import { layoutOfDwarf } from "../src/go/layout-dwarf.ts";
import { fieldsText, type LayoutRow, type LayoutTable, type References, symbolNames } from "../src/go/layout-table.ts";
import { findModules } from "../src/go/module-data.ts";
import { programImage } from "../src/go/program-image.ts";
import { dataReferences } from "../src/go/references.ts";
import { runtimeGlobals } from "../src/go/runtime.ts";
import { FileSource } from "../src/object/byte-source.ts";
import { DwarfTypes } from "../src/object/dwarf.ts";
import { ElfFile } from "../src/object/elf.ts";
import { ElfMemory } from "../src/object/elf-memory.ts";

/**
 * The last patch release of each minor version, oldest first. The first one is measured too, and where the two differ,
 * those between: by bisection, so that every row of the table says exactly which releases it holds for.
 */
const lastReleases: readonly string[] = [
  ..."1.16.15 1.17.13 1.18.10 1.19.13 1.20.14 1.21.13 1.22.12 1.23.12 1.24.13 1.25.14 1.26.11 1.27.4".split(" "),
];

/** Where so many releases in a row are not published as toolchains, the others between will not be either. */
const mostMissing = 2;

const architecture = amd64;

/** The least of a program: its functions are in every program, so they are good witnesses. */
const leastProgram = `package main

import "time"

func main() { time.Sleep(time.Hour) }
`;

/** Uses what keeps the types that we want in the debugging information. */
const typesProgram = `package main

import "runtime"

func main() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	runtime.MemProfile(nil, true)
	runtime.BlockProfile(nil)
	runtime.MutexProfile(nil)
	runtime.SetBlockProfileRate(1)
}
`;

/** The best witnesses of each global that are kept, and offsets of each. */
const mostWitnesses = 12;
const moreFromOthers = 4;
const mostOffsets = 8;

function goEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, GOENV: "off", GOFLAGS: "", GOWORK: "off", GO111MODULE: "on", CGO_ENABLED: "0" };
}

/** The root of a toolchain, fetched by the go command where it is not in the module cache yet. */
function toolchainRoot(release: string): string {
  const go = (args: string[], environment: NodeJS.ProcessEnv): string =>
    execFileSync("go", args, { cwd: "/", env: environment, encoding: "utf8" }).trim();
  const environment = goEnvironment();
  const local = { ...environment, GOTOOLCHAIN: "local" };
  if (go(["env", "GOVERSION"], local) === `go${release}`) return go(["env", "GOROOT"], local);
  const root = join(go(["env", "GOMODCACHE"], local), `golang.org/toolchain@v0.0.1-go${release}.linux-amd64`);
  if (!existsSync(root)) go(["version"], { ...environment, GOTOOLCHAIN: `go${release}` });
  return root;
}

function build(root: string, folder: string, source: string, flags: readonly string[]): ElfFile {
  mkdirSync(folder, { recursive: true });
  // The dot in the module's name keeps Go 1.19 and 1.20 from taking it for a package of their own in the module cache.
  writeFileSync(join(folder, "go.mod"), "module example.com/measured\n\ngo 1.16\n");
  writeFileSync(join(folder, "main.go"), source);
  const environment = { ...goEnvironment(), GOTOOLCHAIN: "local", GOROOT: root, GOARCH: architecture.name };
  execFileSync(join(root, "bin/go"), ["build", "-o", "program", ...flags, "."], { cwd: folder, env: environment });
  return new ElfFile(FileSource.open(join(folder, "program")));
}

function measureLayout(program: ElfFile, release: string): MapLayout {
  const types = DwarfTypes.of(program);
  if (types === undefined) throw new Error(`go${release}: the program has no debugging information`);
  const layout = layoutOfDwarf(types);
  const missing = runtimeStructs.filter((struct) => layout.sizeOf(struct) === undefined);
  if (missing.length > 0) console.error(`go${release}: has no ${missing.join(", ")}`);
  return layout;
}

/** For each global the functions that refer to it, and to which bytes of it. */
function measureReferences(program: ElfFile, layout: MapLayout): Map<string, Map<string, number[]>> {
  const wanted = new Map(runtimeGlobals.flatMap((name) => symbolNames(name).map((symbol) => [symbol, name] as const)));
  const symbols = program.symbols(new Set(wanted.keys()), "") ?? new Map();
  const memory = new ElfMemory(program);
  const module = findModules(programImage(memory, program, 0), [layout]).modules[0]!;
  const low = Math.min(module.noptrdata, module.data);
  const high = Math.max(module.end, module.enoptrbss, module.ebss);
  const table = new Map<string, Map<string, number[]>>();
  for (const { name, entry, size } of module.pclntab.functions("runtime")) {
    const code = Buffer.alloc(size);
    memory.readInto(code, 0, size, entry);
    dataReferences(architecture, code, entry, low, high, (target) => {
      for (const [symbol, place] of symbols) {
        if (target < place.address || target >= place.address + place.size) continue;
        const global = wanted.get(symbol)!;
        const witnesses = table.get(global) ?? new Map<string, number[]>();
        table.set(global, witnesses);
        const offsets = witnesses.get(name) ?? [];
        witnesses.set(name, offsets);
        if (!offsets.includes(target - place.address)) offsets.push(target - place.address);
      }
    });
  }
  return table;
}

/** Those that tell most: many offsets, short names. */
function best(witnesses: ReadonlyMap<string, number[]>, count: number): [string, number[]][] {
  return [...witnesses]
    .sort((a, b) => b[1].length - a[1].length || a[0].length - b[0].length || (a[0] < b[0] ? -1 : 1))
    .slice(0, count)
    .map(([name, offsets]) => [name, offsets.sort((a, b) => a - b).slice(0, mostOffsets)]);
}

type Measured = ReadonlyMap<string, Map<string, number[]>>;

/** The best of the least program's witnesses; more from one that was not optimised, and from one that does more. */
function pruneReferences(plain: Measured, unoptimised: Measured, larger: Measured): References {
  const pruned: Record<string, Record<string, number[]>> = {};
  for (const global of runtimeGlobals) {
    const witnesses = new Map(best(plain.get(global) ?? new Map(), mostWitnesses));
    for (const other of [unoptimised, larger]) {
      let more = 0;
      for (const [name, offsets] of best(other.get(global) ?? new Map(), mostWitnesses))
        if (!witnesses.has(name) && more++ < moreFromOthers) witnesses.set(name, offsets);
    }
    if (witnesses.size > 0) pruned[global] = Object.fromEntries(witnesses);
  }
  return pruned;
}

type Fields = Map<string, Field>;

function fieldsOf(layout: MapLayout): Map<RuntimeStruct, Fields> {
  return new Map(runtimeStructs.map((struct) => [struct, new Map(layout.fields(struct))]));
}

/** What changed from one release to the next, or undefined where nothing did. */
function changes(
  before: Map<RuntimeStruct, Fields> | undefined,
  after: Map<RuntimeStruct, Fields>,
): LayoutRow["fields"] | undefined {
  const changed: Record<string, string> = {};
  for (const [struct, fields] of after) {
    const old: Fields = before?.get(struct) ?? new Map();
    const different = new Map<string, Field | null>();
    for (const [path, field] of fields) {
      const was = old.get(path);
      if (was?.offset !== field.offset || was.size !== field.size) different.set(path, field);
    }
    for (const path of old.keys()) if (!fields.has(path)) different.set(path, null);
    if (different.size > 0) changed[struct] = fieldsText(different);
  }
  return Object.keys(changed).length > 0 ? changed : undefined;
}

/** As toolchains are called: up to 1.20 the first release of a minor version has no patch number. */
function releaseName(minor: number, patch: number): string {
  return patch === 0 && minor <= 20 ? `1.${minor}` : `1.${minor}.${patch}`;
}

class Generator {
  private readonly scratch = mkdtempSync(join(tmpdir(), "procscope-layouts-"));
  private readonly folder = join(packageRoot, "layouts");
  private readonly layouts = new Map<string, MapLayout>();
  private readonly rows: LayoutRow[] = [];
  private previous: Map<RuntimeStruct, Fields> | undefined;

  run(): void {
    mkdirSync(this.folder, { recursive: true });
    try {
      for (const release of lastReleases) this.addMinor(release);
      const table: LayoutTable = { architecture: architecture.name, rows: this.rows, references: lastReleases };
      writeFileSync(join(this.folder, `${architecture.name}.json`), `${JSON.stringify(table)}\n`);
    } finally {
      rmSync(this.scratch, { recursive: true, force: true });
    }
  }

  private addMinor(release: string): void {
    const [, minor, last] = release.split(".").map(Number) as [number, number, number];
    for (const { first, through } of this.stretches(minor, 0, last)) {
      const fields = fieldsOf(this.layout(minor, first));
      const changed = changes(this.previous, fields);
      this.previous = fields;
      const row = { from: `1.${minor}.${first}`, through: `1.${minor}.${through}` };
      this.rows.push({ ...row, fields: changed ?? {} });
      console.log(`${row.from} to ${row.through}: changes in ${Object.keys(changed ?? {}).join(", ")}`);
    }
    // The last release of each minor version stands for all of them: votes tell what a patch did not touch.
    const layout = this.layout(minor, last);
    const root = toolchainRoot(release);
    const measure = (name: string, source: string, flags: string[]): Measured =>
      measureReferences(build(root, join(this.scratch, `${name}-${release}`), source, flags), layout);
    const table = pruneReferences(
      measure("plain", leastProgram, []),
      measure("unoptimised", leastProgram, ["-gcflags=runtime=-N -l"]),
      measure("larger", typesProgram, []),
    );
    writeFileSync(join(this.folder, `${architecture.name}-references-${release}.json`), `${JSON.stringify(table)}\n`);
  }

  /** Patch releases [low, high] of a minor version in stretches of the same layout. */
  private stretches(minor: number, low: number, high: number): { first: number; through: number }[] {
    const differ = changes(fieldsOf(this.layout(minor, low)), fieldsOf(this.layout(minor, high)));
    if (!differ) return [{ first: low, through: high }];
    const middle = this.between(minor, low, high);
    if (middle === undefined) {
      return [
        { first: low, through: low },
        { first: high, through: high },
      ];
    }
    const lower = this.stretches(minor, low, middle);
    const [joined, ...upper] = this.stretches(minor, middle, high);
    return [...lower.slice(0, -1), { first: lower.at(-1)!.first, through: joined!.through }, ...upper];
  }

  /** A release between two that can be had, the most central one; not every toolchain was published as a module. */
  private between(minor: number, low: number, high: number): number | undefined {
    const patches = Array.from({ length: high - low - 1 }, (_, i) => low + 1 + i);
    const distance = (patch: number): number => Math.abs(patch - (low + high) / 2);
    for (const patch of patches.sort((a, b) => distance(a) - distance(b)).slice(0, mostMissing)) {
      try {
        this.layout(minor, patch);
        return patch;
      } catch (error) {
        if (!String(error).includes("not available")) throw error;
      }
    }
    return undefined;
  }

  private layout(minor: number, patch: number): MapLayout {
    const release = releaseName(minor, patch);
    const known = this.layouts.get(release);
    if (known) return known;
    const program = build(toolchainRoot(release), join(this.scratch, `types-${release}`), typesProgram, []);
    const layout = measureLayout(program, release);
    this.layouts.set(release, layout);
    return layout;
  }
}

new Generator().run();
