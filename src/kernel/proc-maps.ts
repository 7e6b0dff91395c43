/** /proc/PID/maps: proc_pid_maps(5), fs/proc/task_mmu.c show_map_vma(). Needs PTRACE_MODE_READ of the target. */
import { ProcscopeError } from "../base/errors.ts";
import type { Address, Bytes, Pid } from "../base/units.ts";
import { defaultProcMount, procError, sharedProcBuffer } from "./proc-file.ts";

/** One mapping of a process's address space. */
export interface Mapping {
  readonly start: Address;
  /** The first address behind it. */
  readonly end: Address;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
  readonly shared: boolean;
  /** Where in the file it begins; 0 for anonymous memory. */
  readonly offset: Bytes;
  /** The file system's device as the kernel writes it: "08:01". */
  readonly device: string;
  /** 0 for memory that is not a file's. */
  readonly inode: number;
  /** The path seen from the process's mount namespace, "[heap]", "[stack]", "[vdso]", or "" for anonymous memory. */
  readonly path: string;
  /** Whether the file of that name was unlinked; " (deleted)" is taken off `path`. */
  readonly deleted: boolean;
}

/** vm.max_map_count is 65,530 by default and rarely above a million: more lines are not a maps file. */
const mostMappings = 4_000_000;

/** Reads all mappings, in order of address. Throws NO_PROCESS, PERMISSION, UNREADABLE, MALFORMED. */
export function readProcMaps(pid: Pid, mount: string = defaultProcMount): Mapping[] {
  if (!sharedProcBuffer.read(`${mount}/${pid}/maps`)) throw procError(pid, "maps", sharedProcBuffer.errno);
  return parseProcMaps(sharedProcBuffer.text());
}

const line = /^([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([ps]) ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+) *(.*)$/;

/** Parses the text of a maps file. Throws MALFORMED at a line that is not one. */
export function parseProcMaps(text: string): Mapping[] {
  const mappings: Mapping[] = [];
  for (const row of text.split("\n")) {
    if (row === "") continue;
    const m = line.exec(row);
    if (!m || mappings.length >= mostMappings) {
      throw new ProcscopeError("MALFORMED", `not a line of /proc/PID/maps: ${row.slice(0, 200)}`);
    }
    const path = unescapePath(m[10]!);
    const deleted = path.endsWith(" (deleted)") && m[9] !== "0";
    mappings.push({
      start: Number.parseInt(m[1]!, 16),
      end: Number.parseInt(m[2]!, 16),
      readable: m[3] === "r",
      writable: m[4] === "w",
      executable: m[5] === "x",
      shared: m[6] === "s",
      offset: Number.parseInt(m[7]!, 16),
      device: m[8]!,
      inode: Number(m[9]),
      path: deleted ? path.slice(0, -" (deleted)".length) : path,
      deleted,
    });
  }
  return mappings;
}

/** The kernel writes newlines in paths as \012 (seq_file's escape of "\n" only). */
function unescapePath(path: string): string {
  return path.includes("\\012") ? path.replaceAll("\\012", "\n") : path;
}
