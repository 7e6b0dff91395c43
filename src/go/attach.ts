/** Attach: from a program's memory and file to everything that the readers of its runtime need, each with its evidence. */

import { ProcscopeError } from "../base/errors.ts";
import type { MemoryReader } from "../base/memory-reader.ts";
import type { Address, Bytes } from "../base/units.ts";
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
import { type ImageRange, type ProgramImage, programImage, rangeBytes } from "./program-image.ts";
import { type Evidence, type GoRuntime, type RuntimeGlobal, runtimeGlobals } from "./runtime.ts";

/**
 * Finds the Go runtime of a program. `bias` is what is added to the addresses of its file; only
 * globals of these names are looked for. Throws UNSUPPORTED_TARGET
 * where it is not a Go program or has a form that is not known, MALFORMED for what does not hold together.
 */
export function attachRuntime(
  memory: MemoryReader,
  elf: ElfFile,
  bias: Address,
  names: readonly RuntimeGlobal[] = runtimeGlobals,
): GoRuntime {
  const image = programImage(memory, elf, bias);
  const architecture = architectureOf(elf);
  const evidence: Evidence[] = [];
  const build = findVersion(image, evidence);
  const preferred = chooseLayout(image, architecture, build.version);
  const found = findModules(image, layoutsToTry(preferred, architecture));
  evidence.push({ subject: "pclntab", found: found.pclntab, checked: found.modules[0]!.pclntab.format });
  evidence.push({ subject: "moduledata", found: found.moduledata, checked: found.checked });
  const context = withInference({ memory, layout: found.layout, modules: found.modules, version: build.version });
  const globals = findGlobals(image, architecture, context, names);
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

/** The version and build information: by section, else in writable memory, where the linker puts it. */
function findVersion(image: ProgramImage, evidence: Evidence[]): { version: GoVersion; info: BuildInfo } {
  const section = image.elf.section(".go.buildinfo");
  const places = [
    ...(section ? [{ start: section.address + image.bias, size: section.size, found: "section .go.buildinfo" }] : []),
    ...image.ranges
      .filter((range) => range.writable)
      .map((range) => ({ start: range.start, size: range.end - range.start, found: "scan for its magic number" })),
  ];
  for (const place of places) {
    const build = findBuildInfo(image.memory, place.start, place.size);
    if (build === undefined) continue;
    evidence.push({ subject: "version", found: place.found, checked: build.version.text });
    return build;
  }
  const text = scanBuildVersion(image);
  const version = text === undefined ? undefined : parseGoVersion(text);
  const info: BuildInfo = { path: undefined, module: undefined, dependencies: [], settings: new Map() };
  if (version === undefined) {
    evidence.push({ subject: "version", found: "neither build information nor runtime.buildVersion", checked: "" });
    return { version: unknownVersion, info };
  }
  evidence.push({
    subject: "version",
    found: "no build information; runtime.buildVersion by scan",
    checked: version.text,
  });
  return { version, info };
}

/** What stands for a version that nothing tells: no table is exact for it, so everything is inferred or checked. */
const unknownVersion: GoVersion = { text: "go (unknown version)", minor: 0, patch: 0, release: false };

/**
 * runtime.buildVersion without its address: the one string variable of the program whose text is nothing but a version.
 * Some programs are linked without build information. Undefined where there is none, or several that differ.
 */
function scanBuildVersion(image: ProgramImage): string | undefined {
  const found = new Set<string>();
  const constants = image.ranges.filter((range) => !range.executable);
  for (const range of image.ranges) {
    if (!range.writable) continue;
    const bytes = rangeBytes(image, range);
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    for (let at = 0; at + 4 <= words.length; at += 2) {
      const length = words[at + 2]!;
      if (length < 5 || length > 64 || words[at + 3] !== 0) continue;
      const text = versionAt(image, constants, words[at]! + words[at + 1]! * 4294967296, length);
      if (text) found.add(text);
    }
  }
  return found.size === 1 ? [...found][0] : undefined;
}

/** The text at an address of the image if it is a version. */
function versionAt(
  image: ProgramImage,
  constants: readonly ImageRange[],
  address: Address,
  length: Bytes,
): string | undefined {
  for (const range of constants) {
    if (address < range.start || address + length > range.end) continue;
    const bytes = rangeBytes(image, range);
    const at = address - range.start;
    // "g" of "go1", "d" of "devel": nearly everything else ends here.
    if (bytes[at] !== 0x67 && bytes[at] !== 0x64) continue;
    const text = bytes.toString("latin1", at, at + length);
    if (/^(go1\.\d+(\.\d+|rc\d+|beta\d+)?( X:\S+)?|devel go1\.\d+-\S+.*)$/.test(text)) return text;
  }
  return undefined;
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
