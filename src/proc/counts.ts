import type { Counts, ProcMetrics } from "./types.ts";

export const noCounts: Counts = { cpu: 0, readBytes: 0n, writeBytes: 0n };

export function addCounts(a: Counts, b: Counts): Counts {
  return { cpu: a.cpu + b.cpu, readBytes: a.readBytes + b.readBytes, writeBytes: a.writeBytes + b.writeBytes };
}

/**
 * How much the counters of a process grew. One that went back (a counter of the kernel that was corrected) grew by
 * nothing. With `exact`, as v0.1.0: it grew by less than nothing, and bytes wrap at 2^64.
 */
export function countsSince(before: ProcMetrics, after: ProcMetrics, exact = false): Counts {
  const cpu = after.cpuTime - before.cpuTime;
  const readBytes = after.readBytes - before.readBytes;
  const writeBytes = after.writeBytes - before.writeBytes;
  if (exact) return { cpu, readBytes: BigInt.asUintN(64, readBytes), writeBytes: BigInt.asUintN(64, writeBytes) };
  return {
    cpu: Math.max(0, cpu),
    readBytes: readBytes > 0n ? readBytes : 0n,
    writeBytes: writeBytes > 0n ? writeBytes : 0n,
  };
}
