/** Attach: from a program's memory and file to everything that the readers of its runtime need, each with its evidence. */

import { u64 } from "../base/bytes.ts";
import { ProcscopeError } from "../base/errors.ts";
import { type MemoryReader, tryRead } from "../base/memory-reader.ts";
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
import { type ProgramImage, programImage, rangeBytes } from "./program-image.ts";
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
  for (const place of placesOfBuildInfo(image)) {
    const build = findBuildInfo(image.memory, place.start, place.bytes);
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

function* placesOfBuildInfo(image: ProgramImage): Generator<{ start: Address; bytes: Buffer; found: string }> {
  const section = image.elf.section(".go.buildinfo");
  if (section) {
    const start = section.address + image.bias;
    const bytes = tryRead(image.memory, start, Math.min(section.size, mostVariables));
    if (bytes) yield { start, bytes, found: "section .go.buildinfo" };
  }
  for (const range of image.ranges.filter(({ writable }) => writable)) {
    const whole = range.end - range.start <= mostVariables;
    const bytes = whole ? rangeBytes(image, range) : tryRead(image.memory, range.start, mostVariables);
    if (bytes) yield { start: range.start, bytes, found: "scan for its magic number" };
  }
}

/** What stands for a version that nothing tells: no table is exact for it, so everything is inferred or checked. */
const unknownVersion: GoVersion = { text: "go (unknown version)", minor: 0, patch: 0, release: false };

/** A hostile program must not cost more than a moment: no real one has so many texts that begin like a version. */
const mostVersions = 1024;
const longestVersion: Bytes = 64;

/**
 * runtime.buildVersion without its address: the one string variable of the program whose text is nothing but a version.
 * Some programs are linked without build information. Undefined where there is none, or several that differ.
 */
function scanBuildVersion(image: ProgramImage): string | undefined {
  const found = new Set<string>();
  const pointer = Buffer.alloc(8);
  const variables = image.ranges.filter(({ writable, start, end }) => writable && end - start <= mostVariables);
  for (const address of versionTexts(image)) {
    pointer.writeBigUInt64LE(BigInt(address));
    for (const range of variables) {
      const bytes = rangeBytes(image, range);
      for (let at = bytes.indexOf(pointer); at >= 0 && at + 16 <= bytes.length; at = bytes.indexOf(pointer, at + 1)) {
        const length = u64(bytes, at + 8);
        if (at % 8 !== 0 || length < 5 || length > longestVersion) continue;
        const text = tryRead(image.memory, address, length)?.toString("latin1") ?? "";
        if (/^(go1\.\d+(\.\d+|rc\d+|beta\d+)?( X:\S+)?|devel go1\.\d+-\S+.*)$/.test(text)) found.add(text);
      }
    }
  }
  return found.size === 1 ? [...found][0] : undefined;
}

/** What is looked for in all variables is looked for often, so these must not be without measure. */
const mostVariables: Bytes = 64 << 20;
const pieceLength: Bytes = 1 << 18;

/** Where in the program's constants a text begins as versions do. */
function versionTexts(image: ProgramImage): Address[] {
  const found: Address[] = [];
  const piece = Buffer.allocUnsafe(pieceLength);
  for (const { start, end, executable } of image.ranges) {
    if (executable) continue;
    // Pieces overlap by the longer beginning.
    for (let from = start; from < end; from += pieceLength - 16) {
      const bytes = piece.subarray(0, image.memory.readInto(piece, 0, Math.min(pieceLength, end - from), from));
      for (const begin of ["go1.", "devel go1."]) {
        for (let at = bytes.indexOf(begin); at >= 0; at = bytes.indexOf(begin, at + 1)) {
          if (found.push(from + at) > mostVersions) return [];
        }
      }
    }
  }
  return found;
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
