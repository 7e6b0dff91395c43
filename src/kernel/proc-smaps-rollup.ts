/**
 * /proc/PID/smaps_rollup: proc_pid_smaps_rollup(5). Walks all page tables under the target's mmap lock: microseconds for
 * a small process, seconds for one of hundreds of gigabytes, and the target's own mmap calls wait meanwhile. Never read
 * it without being asked to.
 */
import type { Bytes } from "../base/units.ts";
import { decimalAt, type ProcBuffer, sharedProcBuffer, skipBlanks } from "./proc-file.ts";

export interface ProportionalSizes {
  /** Resident memory, each shared page divided by the number of processes that share it. */
  readonly resident: Bytes;
  readonly swapped: Bytes;
}

const pssLabel = Buffer.from("\nPss:");
const swapPssLabel = Buffer.from("\nSwapPss:");

/** The proportional sizes, or undefined where the file could not be read (`buffer.errno` says why). */
export function readProportionalSizes(
  dir: string,
  buffer: ProcBuffer = sharedProcBuffer,
): ProportionalSizes | undefined {
  if (!buffer.read(`${dir}/smaps_rollup`)) return undefined;
  const data = buffer.data.subarray(0, buffer.length);
  const kilobytes = (label: Buffer): number => {
    const at = data.indexOf(label);
    return at < 0 ? 0 : decimalAt(data, skipBlanks(data, at + label.length)) * 1024;
  };
  return { resident: kilobytes(pssLabel), swapped: kilobytes(swapPssLabel) };
}
