import { ProcscopeError } from "../base/errors.ts";
import { libcFunction } from "./ffi.ts";

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
