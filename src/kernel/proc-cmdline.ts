/** /proc/PID/cmdline: proc_pid_cmdline(5). Empty for kernel threads and zombies; the process itself may overwrite it. */
import { type ProcBuffer, sharedProcBuffer } from "./proc-file.ts";

/** A process may give itself gigabytes of arguments; matching rules never need more than this. */
const mostBytes = 1 << 20;

/**
 * The arguments as the process has them, or undefined where the file could not be read (`buffer.errno` says why). The
 * NUL that ends the last one is not an argument; a process that overwrote its arguments with a title without NULs
 * gives one.
 */
export function readCmdline(dir: string, buffer: ProcBuffer = sharedProcBuffer): string[] | undefined {
  if (!buffer.read(`${dir}/cmdline`)) return undefined;
  return parseCmdline(buffer.data, Math.min(buffer.length, mostBytes));
}

/** Splits the bytes of a cmdline file at NULs. */
export function parseCmdline(data: Buffer, length: number): string[] {
  if (length === 0) return [];
  const end = data[length - 1] === 0 ? length - 1 : length;
  return data.toString("utf8", 0, end).split("\0");
}
