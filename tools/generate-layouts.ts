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
import { type LayoutRow, type LayoutTable, type References, symbolNames } from "../src/go/layout-table.ts";
import { findModules } from "../src/go/module-data.ts";
import { programImage } from "../src/go/program-image.ts";
import { dataReferences } from "../src/go/references.ts";
import { runtimeGlobals } from "../src/go/runtime.ts";
import { FileSource } from "../src/object/byte-source.ts";
import { DwarfTypes } from "../src/object/dwarf.ts";
import { ElfFile } from "../src/object/elf.ts";
import { ElfMemory } from "../src/object/elf-memory.ts";

/**
 * Releases to measure, oldest first: the first and the last of each minor version, and those between which a patch
 * release moved fields. Up to 1.20 the first one is called without a patch number.
 */
const releases: readonly string[] = [
  ..."1.16 1.16.15 1.17 1.17.13 1.18 1.18.10 1.19 1.19.13 1.20 1.20.14 1.21.0 1.21.13 1.22.0 1.22.12".split(" "),
  ..."1.23.0 1.23.12 1.24.0 1.24.13 1.25.0 1.25.4 1.25.14 1.26.0 1.26.8 1.26.11 1.27.0 1.27.3 1.27.4".split(" "),
];

const architecture = amd64;

/** The least of a program: its functions are in every program, so they are good witnesses. */
const leastProgram = `package main

import "time"

func main() { time.Sleep(time.Hour) }
`;

/** Uses what keeps the types that we want in the debugging information. */
const typesProgram = `package main

import (
	"os"
	"runtime"
	"runtime/pprof"
)

func main() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	runtime.MemProfile(nil, true)
	runtime.BlockProfile(nil)
	runtime.MutexProfile(nil)
	pprof.Lookup("goroutine").WriteTo(os.Stdout, 2)
}
`;

/** The best witnesses of each global that are kept, and offsets of each. */
const mostWitnesses = 12;
const moreFromUnoptimised = 4;
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

function pruneReferences(
  plain: ReadonlyMap<string, Map<string, number[]>>,
  unoptimised: ReadonlyMap<string, Map<string, number[]>>,
): References {
  const pruned: Record<string, Record<string, number[]>> = {};
  for (const global of runtimeGlobals) {
    const witnesses = new Map(best(plain.get(global) ?? new Map(), mostWitnesses));
    let more = 0;
    for (const [name, offsets] of best(unoptimised.get(global) ?? new Map(), mostWitnesses)) {
      if (witnesses.has(name) || more++ >= moreFromUnoptimised) continue;
      witnesses.set(name, offsets);
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
  const changed: Record<string, Record<string, [number, number] | null>> = {};
  for (const [struct, fields] of after) {
    const old: Fields = before?.get(struct) ?? new Map();
    const different: Record<string, [number, number] | null> = {};
    for (const [path, { offset, size }] of fields) {
      const was = old.get(path);
      if (was?.offset !== offset || was.size !== size) different[path] = [offset, size];
    }
    for (const path of old.keys()) if (!fields.has(path)) different[path] = null;
    if (Object.keys(different).length > 0) changed[struct] = different;
  }
  return Object.keys(changed).length > 0 ? changed : undefined;
}

function fullName(release: string): string {
  return release.split(".").length === 2 ? `${release}.0` : release;
}

function main(): void {
  const scratch = mkdtempSync(join(tmpdir(), "procscope-layouts-"));
  const folder = join(packageRoot, "layouts");
  mkdirSync(folder, { recursive: true });
  const rows: LayoutRow[] = [];
  const references: string[] = [];
  let previous: Map<RuntimeStruct, Fields> | undefined;
  try {
    for (const [index, release] of releases.entries()) {
      const root = toolchainRoot(release);
      const layout = measureLayout(build(root, join(scratch, `types-${release}`), typesProgram, []), release);
      const fields = fieldsOf(layout);
      const changed = changes(previous, fields);
      previous = fields;
      if (changed) rows.push({ from: fullName(release), through: fullName(release), fields: changed });
      else rows[rows.length - 1] = { ...rows.at(-1)!, through: fullName(release) };
      console.log(`go${release}: ${changed ? `changes in ${Object.keys(changed).join(", ")}` : "as before"}`);
      // The last release of each minor version stands for all of them: votes tell what a patch did not touch.
      if (releases[index + 1]?.split(".")[1] === release.split(".")[1]) continue;
      const least = (name: string, flags: string[]): Map<string, Map<string, number[]>> =>
        measureReferences(build(root, join(scratch, `${name}-${release}`), leastProgram, flags), layout);
      const table = pruneReferences(least("plain", []), least("unoptimised", ["-gcflags=all=-N -l"]));
      references.push(fullName(release));
      writeFileSync(
        join(folder, `${architecture.name}-references-${fullName(release)}.json`),
        `${JSON.stringify(table)}\n`,
      );
    }
    const table: LayoutTable = { architecture: architecture.name, rows, references };
    writeFileSync(join(folder, `${architecture.name}.json`), `${JSON.stringify(table)}\n`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

main();
