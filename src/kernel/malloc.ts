import { ProcscopeError } from "../base/errors.ts";
import { ffiAvailable, libcFunction } from "./ffi.ts";

let trim: ((pad: number) => number) | undefined;
let missing = false;

/**
 * Gives free memory of the C library's heap back to the kernel (malloc_trim(3)): what Go's debug.FreeOSMemory is for Go.
 * Returns false where the C library has no such function (musl) or native functions cannot be called.
 */
export function mallocTrim(): boolean {
  if (missing) return false;
  try {
    trim ??= libcFunction<(pad: number) => number>("int malloc_trim(size_t pad)");
    trim(0);
    return true;
  } catch (error) {
    if (!(error instanceof ProcscopeError)) throw error;
    missing = true;
    return false;
  }
}

// mallopt(3) of glibc: parameters from malloc.h.
const arenaMax = -8;
const trimThreshold = -1;
const mmapThreshold = -3;
const smallest = 64 << 10;

/**
 * Makes a long-lived process keep less: threads share one arena (Node's workers have one each otherwise, and the memory
 * freed in one serves no other), and blocks of 64 KiB and more go back to the kernel when freed. Saves some 9 MB of 84 in
 * the exporter, for a few page faults more at each scrape. Does nothing where the C library has no such settings (musl).
 */
export function keepMemorySmall(): void {
  if (!ffiAvailable().available) return;
  let mallopt: (parameter: number, value: number) => number;
  try {
    mallopt = libcFunction("int mallopt(int parameter, int value)");
  } catch {
    return;
  }
  mallopt(arenaMax, 1);
  mallopt(trimThreshold, smallest);
  mallopt(mmapThreshold, smallest);
}
