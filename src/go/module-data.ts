/** Finding runtime.firstmoduledata and the modules behind it, in any build mode, with nothing but memory. */
import { u64 } from "../base/bytes.ts";
import { ProcscopeError } from "../base/errors.ts";
import { type MemoryReader, tryRead } from "../base/memory-reader.ts";
import type { Address } from "../base/units.ts";
import type { Layout } from "./layout.ts";
import type { GoModule } from "./module.ts";
import { Pclntab, pclntabMagics } from "./pclntab.ts";
import { type ProgramImage, rangeBytes } from "./program-image.ts";

/** Plugins make modules; a longer chain is not one. */
const mostModules = 1024;

export interface FoundModules {
  readonly modules: readonly GoModule[];
  /** How the function table and the module data were found, and what held of the latter. */
  readonly pclntab: string;
  readonly moduledata: string;
  readonly checked: string;
  /** The layout under which the module data made sense. */
  readonly layout: Layout;
}

/**
 * Finds the program's modules under the first of `layouts` that fits. Throws UNSUPPORTED_TARGET where there is no Go
 * function table, or none whose module data makes sense under any layout.
 */
export function findModules(image: ProgramImage, layouts: Iterable<Layout>): FoundModules {
  const tables = findTables(image);
  if (tables.addresses.length === 0) {
    throw new ProcscopeError("UNSUPPORTED_TARGET", "not a Go program: it has no Go function table", {
      hint: "procscope ps lists Go processes",
    });
  }
  // Module data is written to by the runtime; what is only read is searched when nothing else is left.
  const writable = pointersTo(image, tables.addresses, true);
  const known = [...layouts];
  const found = fit(image, known, writable) ?? fit(image, known, pointersTo(image, tables.addresses, false));
  if (found) return { ...found, pclntab: tables.found, moduledata: "pointer to the function table" };
  throw new ProcscopeError(
    "UNSUPPORTED_TARGET",
    "a Go program, but its module data has a form that is not known here: older than Go 1.16, or newer than procscope",
    { hint: "a newer release of procscope may know this Go version" },
  );
}

/** The first layout and candidate that give modules which make sense. */
function fit(
  image: ProgramImage,
  layouts: readonly Layout[],
  candidates: readonly Address[],
): Pick<FoundModules, "modules" | "layout" | "checked"> | undefined {
  for (const layout of layouts) {
    for (const address of candidates) {
      const first = readModule(image.memory, address, layout);
      if (first === undefined) continue;
      const modules = followModules(image.memory, first, layout);
      if (modules === undefined) continue;
      const checked = `${checkedRanges}; ${modules.length} module${modules.length > 1 ? "s" : ""}`;
      return { modules, layout, checked };
    }
  }
  return undefined;
}

const checkedRanges = "ranges of text, data, types and tables in order";

/** Candidate addresses of the function table: by section name, else by its magic number. */
function findTables(image: ProgramImage): { addresses: Address[]; found: string } {
  for (const name of [".gopclntab", ".data.rel.ro.gopclntab"]) {
    const section = image.elf.section(name);
    const address = section && section.address + image.bias;
    if (address !== undefined && looksLikeTable(image.memory, address)) {
      return { addresses: [address], found: `section ${name}` };
    }
  }
  const addresses: Address[] = [];
  for (const range of image.ranges) {
    const bytes = rangeBytes(image, range);
    for (const magic of pclntabMagics) {
      const pattern = Buffer.from([magic, 0xff, 0xff, 0xff, 0, 0]);
      for (let at = bytes.indexOf(pattern); at >= 0 && addresses.length < 64; at = bytes.indexOf(pattern, at + 1))
        if ((range.start + at) % 8 === 0 && validHeader(bytes, at)) addresses.push(range.start + at);
    }
  }
  return { addresses, found: "scan for its magic number" };
}

function looksLikeTable(memory: MemoryReader, address: Address): boolean {
  const header = tryRead(memory, address, 16);
  return header !== undefined && pclntabMagics.includes(header[0]!) && validHeader(header, 0);
}

/** Pad bytes, instruction quantum, pointer size and a number of functions that a Go program can have. */
function validHeader(bytes: Buffer, at: number): boolean {
  if (at + 16 > bytes.length || bytes.readUInt16LE(at + 4) !== 0) return false;
  const quantum = bytes[at + 6]!;
  const functions = u64(bytes, at + 8);
  return [1, 2, 4].includes(quantum) && bytes[at + 7] === 8 && functions > 50 && functions < 5_000_000;
}

/** Aligned words of the writable or of the other parts of the image that hold one of the addresses. */
function pointersTo(image: ProgramImage, addresses: readonly Address[], writable: boolean): Address[] {
  const found: Address[] = [];
  for (const range of image.ranges) {
    if (range.writable !== writable) continue;
    const bytes = rangeBytes(image, range);
    for (const address of addresses) {
      const pattern = Buffer.alloc(8);
      pattern.writeBigUInt64LE(BigInt(address));
      for (let at = bytes.indexOf(pattern); at >= 0 && found.length < 4096; at = bytes.indexOf(pattern, at + 1))
        if ((range.start + at) % 8 === 0) found.push(range.start + at);
    }
  }
  return found;
}

/** The modules linked by `next`; undefined where the chain leads to what is no module, so that the layout is wrong. */
function followModules(memory: MemoryReader, first: RawModule, layout: Layout): GoModule[] | undefined {
  const modules: GoModule[] = [];
  const seen = new Set<Address>();
  for (let raw: RawModule | undefined = first; ; ) {
    seen.add(raw.address);
    const module = withTable(memory, raw);
    if (module === undefined) return undefined;
    modules.push(module);
    if (raw.next === 0) return modules;
    if (seen.has(raw.next) || modules.length >= mostModules) return undefined;
    raw = readModule(memory, raw.next, layout);
    if (raw === undefined) return undefined;
  }
}

type RawModule = Omit<GoModule, "pclntab"> & {
  readonly table: Address;
  readonly tableEnd: Address;
  readonly next: Address;
};

function withTable(memory: MemoryReader, raw: RawModule): GoModule | undefined {
  try {
    const { table, tableEnd, next: _, ...ranges } = raw;
    return { ...ranges, pclntab: Pclntab.read(memory, table, tableEnd, raw) };
  } catch (error) {
    if (error instanceof ProcscopeError && error.code === "MALFORMED") return undefined;
    throw error;
  }
}

/** Reads the structure and believes it only where its ranges are in the order that every linker writes. */
function readModule(memory: MemoryReader, address: Address, layout: Layout): RawModule | undefined {
  const size = layout.sizeOf("moduledata");
  const bytes = size !== undefined && size < 4096 ? tryRead(memory, address, size) : undefined;
  if (bytes === undefined) return undefined;
  const word = (path: string, part = 0): number => {
    const field = layout.field("moduledata", path);
    return field === undefined || field.offset + part + 8 > bytes.length ? 0 : u64(bytes, field.offset + part);
  };
  const table = word("pcHeader");
  const raw: RawModule = {
    address,
    text: word("text"),
    etext: word("etext"),
    gofunc: word("gofunc"),
    noptrdata: word("noptrdata"),
    enoptrdata: word("enoptrdata"),
    data: word("data"),
    edata: word("edata"),
    bss: word("bss"),
    ebss: word("ebss"),
    noptrbss: word("noptrbss"),
    enoptrbss: word("enoptrbss"),
    end: word("end"),
    types: word("types"),
    etypes: word("etypes"),
    rodata: word("rodata"),
    table,
    tableEnd: word("pclntable") + word("pclntable", 8),
    next: word("next"),
  };
  const minpc = word("minpc");
  const maxpc = word("maxpc");
  const inOrder =
    raw.text > 0 &&
    raw.text <= minpc &&
    minpc < maxpc &&
    maxpc <= raw.etext &&
    raw.tableEnd > table + 64 &&
    raw.noptrdata <= raw.enoptrdata &&
    raw.data <= raw.edata &&
    raw.bss <= raw.ebss &&
    raw.noptrbss <= raw.enoptrbss &&
    raw.noptrbss <= raw.end &&
    raw.types < raw.etypes &&
    raw.etypes - raw.types < 1 << 30;
  return inOrder && laterFieldsHold(raw, memory, layout, word) ? raw : undefined;
}

/** The fields that moved between versions: a layout of another version fails here. */
function laterFieldsHold(
  raw: RawModule,
  memory: MemoryReader,
  layout: Layout,
  word: (path: string, part?: number) => number,
): boolean {
  if (layout.field("moduledata", "gofunc")) {
    // Function data lies among the read-only data, or behind it next to the function table.
    if (raw.gofunc < raw.text || tryRead(memory, raw.gofunc, 8) === undefined) return false;
    if (raw.rodata < raw.text || tryRead(memory, raw.rodata, 8) === undefined) return false;
  }
  if (raw.end < raw.noptrdata || raw.end - raw.noptrdata > 2 ** 33) return false;
  if (raw.next !== 0 && tryRead(memory, raw.next, 8) === undefined) return false;
  // A slice: length within capacity. Comes behind gofunc, so that a structure that grew before it does not pass.
  const sections = word("textsectmap", 8);
  return sections >= 0 && sections <= word("textsectmap", 16) && sections < 1 << 20;
}
