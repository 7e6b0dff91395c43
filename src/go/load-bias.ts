/** Where the kernel and the dynamic linker put a program: the distance between its file's addresses and memory. */
import { readFileSync } from "node:fs";
import { u64 } from "../base/bytes.ts";
import type { Address, Pid } from "../base/units.ts";
import { defaultProcMount } from "../kernel/proc-file.ts";
import type { Mapping } from "../kernel/proc-maps.ts";
import type { FileSource } from "../object/byte-source.ts";
import type { ElfFile } from "../object/elf.ts";

const pageSize = 4096;
/** AT_ENTRY, include/uapi/linux/auxvec.h: the program's entry point in memory. */
const atEntry = 9;

/**
 * The load bias: 0 for a program at fixed addresses; by the mapping of the file's start (device and inode); else from
 * the auxiliary vector that the kernel gave the program. Undefined where the file is not mapped.
 */
export function loadBias(
  pid: Pid,
  file: FileSource,
  elf: ElfFile,
  mappings: readonly Mapping[],
  mount: string = defaultProcMount,
): Address | undefined {
  const first = elf.segments[0];
  if (elf.type !== 3) return 0;
  if (first === undefined) return undefined;
  const offset = first.offset - (first.offset % pageSize);
  const start = first.address - (first.address % pageSize);
  const own = mappings.filter((m) => m.inode === file.inode && m.offset === offset);
  // Devices differ between stat(2) and maps on overlay and btrfs file systems: they only break ties.
  const mapping = own.find((m) => m.device === deviceText(file.device)) ?? own[0];
  if (mapping) return mapping.start - start;
  const entry = auxiliaryValue(pid, atEntry, mount);
  const bias = entry === undefined ? -1 : entry - elf.entry;
  return bias >= 0 && bias % pageSize === 0 ? bias : undefined;
}

/** A device as /proc/PID/maps writes it. */
function deviceText(device: number): string {
  const major = Math.floor(device / 256) % 4096;
  const minor = (device % 256) + Math.floor(device / 1048576) * 256;
  return `${major.toString(16).padStart(2, "0")}:${minor.toString(16).padStart(2, "0")}`;
}

function auxiliaryValue(pid: Pid, type: number, mount: string): number | undefined {
  let vector: Buffer;
  try {
    vector = readFileSync(`${mount}/${pid}/auxv`);
  } catch {
    return undefined;
  }
  for (let at = 0; at + 16 <= vector.length; at += 16) if (u64(vector, at) === type) return u64(vector, at + 8);
  return undefined;
}
