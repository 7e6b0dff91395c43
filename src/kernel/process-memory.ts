/**
 * The memory of a live process, read while it runs: process_vm_readv(2) where native functions can be called (it needs
 * CAP_SYS_PTRACE only, and takes 1,024 ranges a call); otherwise /proc/PID/mem, which needs no native code but for other
 * users' processes CAP_DAC_READ_SEARCH besides. The target is neither stopped nor traced by either.
 */
import { ProcscopeError } from "../base/errors.ts";
import type { MemoryReader, RangeBuffer } from "../base/memory-reader.ts";
import type { Address, Bytes, Pid } from "../base/units.ts";
import { ffiAvailable } from "./ffi.ts";
import { FileMemory } from "./file-memory.ts";
import { memoryGone } from "./process-access.ts";
import { VmReadMemory } from "./vm-read-memory.ts";

export interface ProcessMemory extends MemoryReader, Disposable {
  readonly pid: Pid;
  /** How it is read: for `doctor`. */
  readonly method: "process_vm_readv" | "/proc/PID/mem";
}

/** Opens the memory of a process by the way that works here. Throws NO_PROCESS, PERMISSION (saying what is missing). */
export function openProcessMemory(pid: Pid): ProcessMemory {
  if (ffiAvailable().available) {
    const memory = new VmReadMemory(pid);
    const errno = memory.probe();
    if (errno === undefined) return memory;
    if (errno === "ESRCH") throw memoryGone(pid);
    // A seccomp filter may refuse the call where the file is allowed: go on to it.
  }
  return openFileMemory(pid);
}

/** The way through /proc/PID/mem, whatever else would work. Throws as {@link openProcessMemory}. */
export function openFileMemory(pid: Pid): ProcessMemory {
  return FileMemory.open(pid);
}

/**
 * The same for a look that is probably short: through the file, which spares 6 ms of loading native code, until many
 * ranges are asked for at once. Throws as {@link openProcessMemory}.
 */
export function openMemoryBriefly(pid: Pid): ProcessMemory {
  try {
    return new BriefMemory(openFileMemory(pid));
  } catch (error) {
    // Without CAP_DAC_READ_SEARCH the call may be allowed where the file is not.
    if (error instanceof ProcscopeError && error.code === "PERMISSION") return openProcessMemory(pid);
    throw error;
  }
}

/** So many ranges are no longer a short look. */
const manyRanges = 64;

class BriefMemory implements ProcessMemory {
  readonly pid: Pid;
  private way: ProcessMemory;

  constructor(file: ProcessMemory) {
    this.pid = file.pid;
    this.way = file;
  }

  get method(): ProcessMemory["method"] {
    return this.way.method;
  }

  readInto(target: Uint8Array, offset: number, length: Bytes, address: Address): Bytes {
    return this.way.readInto(target, offset, length, address);
  }

  readRanges(addresses: Float64Array, lengths: Uint32Array, count: number, into: RangeBuffer): void {
    if (count >= manyRanges && this.way.method === "/proc/PID/mem") {
      const file = this.way;
      this.way = openProcessMemory(this.pid);
      file[Symbol.dispose]();
    }
    this.way.readRanges(addresses, lengths, count, into);
  }

  [Symbol.dispose](): void {
    this.way[Symbol.dispose]();
  }
}
