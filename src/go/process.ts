/** A running Go process, looked at from outside. */
import { ProcscopeError } from "../base/errors.ts";
import type { Pid } from "../base/units.ts";
import { defaultProcMount } from "../kernel/proc-file.ts";
import { readProcMaps } from "../kernel/proc-maps.ts";
import { memoryGone } from "../kernel/process-access.ts";
import { openMemoryBriefly, openProcessMemory, type ProcessMemory } from "../kernel/process-memory.ts";
import { FileSource } from "../object/byte-source.ts";
import { ElfFile } from "../object/elf.ts";
import { attachRuntime } from "./attach.ts";
import type { BuildInfo, GoVersion } from "./build-info.ts";
import { loadBias } from "./load-bias.ts";
import { type MemStats, MemStatsReader } from "./mem-stats.ts";
import type { Evidence, GoRuntime, RuntimeGlobal } from "./runtime.ts";

export interface AttachOptions {
  /** The program's file, where /proc/PID/exe is not it or cannot be opened. */
  readonly exe?: string | undefined;
  /** The runtime globals to look for; all of them by default. Fewer are found sooner in programs without symbols. */
  readonly globals?: readonly RuntimeGlobal[] | undefined;
  /** Whether it is looked at but once: then native code is loaded only where much is to be read. */
  readonly once?: boolean | undefined;
}

/** What is known of a Go process from the moment of attaching. */
export interface GoProcessInfo {
  readonly pid: Pid;
  readonly version: GoVersion;
  readonly build: BuildInfo;
  readonly architecture: string;
  /** How memory is read: "process_vm_readv" or "/proc/PID/mem". */
  readonly method: string;
  readonly evidence: readonly Evidence[];
}

/**
 * A Go process that is being looked at. Nothing is held in it and nothing of it is changed; what is held here are a
 * descriptor at most and tables, which disposing gives back.
 */
export class GoProcess implements Disposable {
  readonly pid: Pid;
  readonly runtime: GoRuntime;
  readonly info: GoProcessInfo;
  private readonly memory: ProcessMemory;
  private statistics: MemStatsReader | undefined;

  /**
   * Attaches to a running process. Throws NO_PROCESS, PERMISSION (its hint names what is missing), UNSUPPORTED_TARGET
   * (not a Go program, or a version that is not known), MALFORMED.
   */
  static attach(pid: Pid, options: AttachOptions = {}): GoProcess {
    const memory = options.once ? openMemoryBriefly(pid) : openProcessMemory(pid);
    try {
      return new GoProcess(pid, memory, findRuntime(pid, memory, options));
    } catch (error) {
      memory[Symbol.dispose]();
      throw error;
    }
  }

  private constructor(pid: Pid, memory: ProcessMemory, runtime: GoRuntime) {
    this.pid = pid;
    this.memory = memory;
    this.runtime = runtime;
    this.info = {
      pid,
      version: runtime.version,
      build: runtime.buildInfo,
      architecture: runtime.architecture.name,
      method: memory.method,
      evidence: runtime.evidence,
    };
  }

  /**
   * The program's runtime.MemStats at this moment, by reading memory only. Counters never go back between two calls.
   * Throws UNSUPPORTED_TARGET where they cannot be found in this program, NO_PROCESS where it has ended.
   */
  memStats(): MemStats {
    this.statistics ??= new MemStatsReader(this.runtime);
    return this.statistics.read();
  }

  [Symbol.dispose](): void {
    this.memory[Symbol.dispose]();
  }
}

/** The link is opened, not followed: so a deleted program or one of another mount namespace is found as well. */
function findRuntime(pid: Pid, memory: ProcessMemory, options: AttachOptions): GoRuntime {
  const path = options.exe ?? `${defaultProcMount}/${pid}/exe`;
  using file = openProgram(pid, path, options.exe !== undefined);
  const elf = readElf(file, path);
  const mappings = readProcMaps(pid);
  // Those of a process that is exiting.
  if (mappings.length === 0) throw memoryGone(pid);
  const bias = loadBias(pid, file, elf, mappings);
  if (bias === undefined) {
    throw new ProcscopeError("UNSUPPORTED_TARGET", `${path} is not mapped into process ${pid}`, {
      hint: "leave --exe away, or name the file that the process was started from",
    });
  }
  return attachRuntime(memory, elf, bias, options.globals);
}

function openProgram(pid: Pid, path: string, named: boolean): FileSource {
  try {
    return FileSource.open(path);
  } catch (error) {
    if (named || !(error instanceof ProcscopeError) || error.code !== "UNREADABLE") throw error;
    // No program behind the link: a kernel thread, a zombie, or a process that has just exited. Its memory may have been
    // opened all the same: older kernels open that of a zombie as an empty file (__mem_open in fs/proc/base.c).
    throw memoryGone(pid);
  }
}

function readElf(file: FileSource, path: string): ElfFile {
  try {
    return new ElfFile(file);
  } catch (error) {
    if (!(error instanceof ProcscopeError)) throw error;
    throw new ProcscopeError("UNSUPPORTED_TARGET", `${path}: ${error.message.replace(`${path}: `, "")}`, {
      cause: error,
      hint: "only 64-bit little-endian ELF programs can be read",
    });
  }
}
