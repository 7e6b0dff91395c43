/** Attach: from a program's memory and file to everything that the readers of its runtime need, each with its evidence. */
import { ProcscopeError } from "../base/errors.ts";
import type { MemoryReader } from "../base/memory-reader.ts";
import type { Address } from "../base/units.ts";
import { DwarfTypes } from "../object/dwarf.ts";
import type { ElfFile } from "../object/elf.ts";
import { type Architecture, amd64, arm64 } from "./architecture.ts";
import { type BuildInfo, findBuildInfo, type GoVersion, parseGoVersion } from "./build-info.ts";
import type { CheckContext } from "./global-checks.ts";
import { findGlobals } from "./globals.ts";
import { type Layout, MapLayout } from "./layout.ts";
import { checkLayout } from "./layout-check.ts";
import { layoutOfDwarf } from "./layout-dwarf.ts";
import { inferGoroutineLayout } from "./layout-infer.ts";
import { allLayouts, layoutOfTable } from "./layout-table.ts";
import { findModules } from "./module-data.ts";
import { type ProgramImage, programImage } from "./program-image.ts";
import type { Evidence, GoRuntime } from "./runtime.ts";

/**
 * Finds the Go runtime of a program. `bias` is what is added to the addresses of its file. Throws UNSUPPORTED_TARGET
 * where it is not a Go program or has a form that is not known, MALFORMED for what does not hold together.
 */
export function attachRuntime(memory: MemoryReader, elf: ElfFile, bias: Address): GoRuntime {
  const image = programImage(memory, elf, bias);
  const architecture = architectureOf(elf);
  const evidence: Evidence[] = [];
  const build = findVersion(image, evidence);
  const preferred = chooseLayout(image, architecture, build.version);
  const found = findModules(image, layoutsToTry(preferred, architecture));
  evidence.push({ subject: "pclntab", found: found.pclntab, checked: found.modules[0]!.pclntab.format });
  evidence.push({ subject: "moduledata", found: found.moduledata, checked: found.checked });
  const context = withInference({ memory, layout: found.layout, modules: found.modules, version: build.version });
  const globals = findGlobals(image, architecture, context);
  evidence.push(...checkLayout(context, globals.globals), ...globals.evidence);
  return {
    memory,
    architecture,
    version: build.version,
    buildInfo: build.info,
    modules: found.modules,
    layout: context.layout,
    globals: globals.globals,
    evidence,
  };
}

function architectureOf(elf: ElfFile): Architecture {
  const architecture = [amd64, arm64].find(({ elfMachine }) => elfMachine === elf.machine);
  if (architecture) return architecture;
  throw new ProcscopeError("UNSUPPORTED_TARGET", `programs of ELF machine ${elf.machine} cannot be read`, {
    hint: "supported is x86-64",
  });
}

/** The version and build information: by section, else in writable memory (where the linker puts them), else anywhere. */
function findVersion(image: ProgramImage, evidence: Evidence[]): { version: GoVersion; info: BuildInfo } {
  const section = image.elf.section(".go.buildinfo");
  const places = [
    ...(section ? [{ start: section.address + image.bias, size: section.size, found: "section .go.buildinfo" }] : []),
    ...[...image.ranges]
      .sort((a, b) => Number(b.writable) - Number(a.writable))
      .map((range) => ({ start: range.start, size: range.end - range.start, found: "scan for its magic number" })),
  ];
  for (const place of places) {
    const build = findBuildInfo(image.memory, place.start, place.size);
    if (build === undefined) continue;
    evidence.push({ subject: "version", found: place.found, checked: build.version.text });
    return build;
  }
  if (!image.elf.section(".gopclntab") && !image.elf.section(".data.rel.ro.gopclntab")) {
    throw new ProcscopeError("UNSUPPORTED_TARGET", "not a Go program: it has no Go build information", {
      hint: "procscope ps lists Go processes",
    });
  }
  evidence.push({ subject: "version", found: "no build information", checked: "" });
  const info: BuildInfo = { path: undefined, module: undefined, dependencies: [], settings: new Map() };
  return { version: parseGoVersion("go1.0")!, info };
}

/**
 * The table where it was measured on exactly this version; the program's own debugging information for every other
 * (development versions, GOEXPERIMENT, releases newer than the table); the nearest row of the table as the last resort.
 */
function chooseLayout(image: ProgramImage, architecture: Architecture, version: GoVersion): Layout {
  const table = layoutOfTable(architecture, version);
  if (table.exact) return table;
  try {
    const types = DwarfTypes.of(image.elf);
    const layout = types && layoutOfDwarf(types);
    // Debugging information that a linker discarded types of is of no use.
    if (layout?.sizeOf("g") && layout.sizeOf("moduledata")) return layout;
  } catch (error) {
    if (!(error instanceof ProcscopeError) || error.code !== "MALFORMED") throw error;
  }
  return table;
}

function* layoutsToTry(preferred: Layout, architecture: Architecture): Generator<Layout> {
  yield preferred;
  // An exact layout that does not fit is a reason to stop, not to guess.
  if (!preferred.exact) yield* allLayouts(architecture);
}

/** For a version that the tables do not hold: what can be inferred of g takes the place of the nearest row's offsets. */
function withInference(context: CheckContext): CheckContext {
  const { layout } = context;
  if (layout.exact || !(layout instanceof MapLayout)) return context;
  const inferred = inferGoroutineLayout(context);
  if (inferred === undefined) return context;
  const moved = [...inferred].filter(([path, field]) => layout.field("g", path)?.offset !== field.offset);
  const source = moved.length === 0 ? `${layout.source}, confirmed by inference` : `${layout.source}, g inferred`;
  return { ...context, layout: layout.with("g", inferred, source) };
}
