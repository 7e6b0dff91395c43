/** How many file descriptors may be kept open: RLIMIT_NOFILE of this process, getrlimit(2). */
import { ProcBuffer } from "./proc-file.ts";
import { readOpenFileLimit } from "./proc-limits.ts";

/** Left for connections, the event loop and everything else. */
const reserve = 512;

/**
 * Descriptors that may be kept, at most `most`: half of the soft limit (Node raises it to the hard one at start) less a
 * reserve, because sockets of slow clients need some too.
 */
export function descriptorBudget(most: number): number {
  const limit = readOpenFileLimit("/proc/self", new ProcBuffer()) ?? 1024;
  return Math.max(0, Math.min(most, Math.floor(limit / 2) - reserve));
}
