/** Names for code that is not Go's: functions of ELF files by their symbols, and code made at run time by its perf map. */
import { statSync } from "node:fs";
import { countUpTo } from "../base/sorted.ts";
import type { Address, Pid } from "../base/units.ts";
import { PerfMap } from "../kernel/perf-map.ts";
import { type Mapping, readProcMaps } from "../kernel/proc-maps.ts";
import { FileSource } from "../object/byte-source.ts";
import { demangle } from "../object/demangle.ts";
import { ElfFile, type ElfSegment } from "../object/elf.ts";
import { ElfFunctions } from "../object/elf-functions.ts";
import type { CodeFrame, CodeSource } from "./code.ts";
import type { StackEnd } from "./cpu-sampler.ts";

interface MappedFile {
  readonly segments: readonly ElfSegment[];
  readonly functions: ElfFunctions;
}

/** What a thread begins with: a walk that ends in one of these is whole. */
const roots =
  /^(_start|__libc_start_main|__libc_start_call_main|main|clone|clone3|__clone|__clone3|start_thread|thread_start)/;

export class NativeCode implements CodeSource {
  readonly #pid: Pid;
  #mappings: readonly Mapping[] = [];
  #starts = new Float64Array(0);
  #perfMap: PerfMap | undefined;
  readonly #files = new Map<string, MappedFile | undefined>();
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(pid: Pid) {
    this.#pid = pid;
    this.#refresh();
  }

  frames(address: Address, isReturn: boolean): readonly CodeFrame[] | undefined {
    if (address < 0) return undefined;
    const mapping = this.#mappingOf(address);
    if (!mapping) return undefined;
    return [{ name: this.#name(mapping, isReturn ? address - 1 : address), file: mapping.path, line: 0, startLine: 0 }];
  }

  /**
   * "whole" where threads begin. The functions of the C library that call main and start threads have no names where it
   * is stripped: a caller's frame in it is taken for one of them.
   */
  endOf(address: Address): StackEnd | undefined {
    const mapping = this.#mappingOf(address);
    if (mapping === undefined) return undefined;
    const inLibc = /\/(libc|libpthread|ld-musl)[-.][^/]*$/.test(mapping.path);
    return inLibc || roots.test(this.#name(mapping, address - 1)) ? "whole" : undefined;
  }

  #name(mapping: Mapping, address: Address): string {
    const jit = this.#perfMap?.lookup(address);
    if (jit !== undefined) return jit;
    const file = this.#fileOf(mapping);
    const inFile = address - mapping.start + mapping.offset;
    const segment = file?.segments.find((one) => inFile >= one.offset && inFile < one.offset + one.fileSize);
    const symbol = segment && file?.functions.lookup(inFile - segment.offset + segment.address);
    if (symbol !== undefined) return demangle(symbol);
    return `[${mapping.path.split("/").at(-1) || "anonymous code"}]`;
  }

  #mappingOf(address: Address): Mapping | undefined {
    const found = this.#mapped(address);
    // Code may have been mapped since; looked for again at most twice a second.
    if (found || performance.now() - this.#readAt < 500) return found;
    this.#refresh();
    return this.#mapped(address);
  }

  #mapped(address: Address): Mapping | undefined {
    const mapping = this.#mappings[countUpTo(this.#starts, address) - 1];
    return mapping && address < mapping.end ? mapping : undefined;
  }

  #refresh(): void {
    this.#readAt = performance.now();
    try {
      this.#mappings = readProcMaps(this.#pid).filter((mapping) => mapping.executable);
      this.#starts = Float64Array.from(this.#mappings, (mapping) => mapping.start);
      this.#perfMap = PerfMap.read(this.#pid);
    } catch {
      // The process is gone or closed to us: what was known stays known.
    }
  }

  #fileOf(mapping: Mapping): MappedFile | undefined {
    const key = `${mapping.device} ${mapping.inode}`;
    if (mapping.inode === 0) return undefined;
    if (!this.#files.has(key)) this.#files.set(key, this.#open(mapping));
    return this.#files.get(key);
  }

  /** Through the process's own eyes, and only a file that is still the mapped one. */
  #open(mapping: Mapping): MappedFile | undefined {
    const hex = (address: Address): string => address.toString(16);
    const root = `/proc/${this.#pid}`;
    for (const path of [
      `${root}/map_files/${hex(mapping.start)}-${hex(mapping.end)}`,
      `${root}/exe`,
      `${root}/root${mapping.path}`,
    ]) {
      try {
        if (statSync(path).ino !== mapping.inode) continue;
        using source = FileSource.open(path);
        const elf = new ElfFile(source);
        return { segments: elf.segments, functions: new ElfFunctions(elf) };
      } catch {
        // Not to be opened this way, or no ELF file (the cache of a just-in-time compiler): try the next.
      }
    }
    return undefined;
  }
}
