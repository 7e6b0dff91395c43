/**
 * The one door to native functions: koffi and the C library, loaded once and only when the first function is asked for.
 * koffi is an optional dependency, so everything that needs it throws UNSUPPORTED_HERE where it is missing, and what can
 * do without (reading through /proc) never comes here.
 *
 * Rules for callers:
 * - Pointers are BigInt. A buffer that is passed by address must stay reachable until the call has returned, and for as
 *   long as the kernel may write to it.
 * - `lastErrno()` is only right immediately after the call that failed.
 * - Never unmap memory while an ArrayBuffer of {@link memoryView} over it can still be reached: the process would die.
 */
import { createRequire } from "node:module";
import { constants } from "node:os";
import { ProcscopeError } from "../base/errors.ts";

/** The part of koffi's interface that procscope uses. */
interface Koffi {
  load(path: string): { func(definition: string): unknown };
  errno(): number;
  address(value: unknown): bigint;
  view(pointer: bigint, length: number): ArrayBuffer;
}

interface Library {
  readonly koffi: Koffi;
  readonly libc: { func(definition: string): unknown };
}

let library: Library | undefined;
let failure: ProcscopeError | undefined;
const functions = new Map<string, unknown>();

/** Whether native functions can be called here; the reason where not. Never throws. */
export function ffiAvailable(): { available: true } | { available: false; error: ProcscopeError } {
  try {
    load();
    return { available: true };
  } catch (error) {
    if (error instanceof ProcscopeError) return { available: false, error };
    throw error;
  }
}

/**
 * A function of the C library by its C declaration, bound once: `libcFunction<(fd: number) => number>("int close(int fd)")`.
 * Integers come back as numbers (bigint past 2^53), pointers as bigint or null. A variadic function must be declared
 * with the fixed parameters that are passed. Throws UNSUPPORTED_HERE where koffi or the function is missing.
 */
export function libcFunction<F extends (...args: never[]) => unknown>(definition: string): F {
  const known = functions.get(definition);
  if (known !== undefined) return known as F;
  let bound: unknown;
  try {
    bound = load().libc.func(definition);
  } catch (cause) {
    if (cause instanceof ProcscopeError) throw cause;
    throw new ProcscopeError("UNSUPPORTED_HERE", `the C library has no such function: ${definition}`, { cause });
  }
  functions.set(definition, bound);
  return bound as F;
}

/** The errno of the last native call of this thread. */
export function lastErrno(): number {
  return load().koffi.errno();
}

/** The address of a buffer's first byte, for structures that hold pointers. Keep the buffer reachable while it is used. */
export function addressOf(buffer: ArrayBufferView): bigint {
  return load().koffi.address(buffer);
}

/** An ArrayBuffer over native memory, without a copy. See the rule about unmapping above. */
export function memoryView(pointer: bigint, length: number): ArrayBuffer {
  return load().koffi.view(pointer, length);
}

/** "EPERM" for 1; "errno 4711" for what has no name. */
export function errnoName(errno: number): string {
  for (const [name, value] of Object.entries(constants.errno)) if (value === errno) return name;
  // The few that libuv does not know and Linux interfaces return.
  const others: Record<number, string> = { 524: "ENOTSUPP", 61: "ENODATA", 19: "ENODEV", 6: "ENXIO", 105: "ENOBUFS" };
  return others[errno] ?? `errno ${errno}`;
}

function load(): Library {
  if (library) return library;
  if (failure) throw failure;
  try {
    const koffi = createRequire(import.meta.url)("koffi") as Koffi;
    library = { koffi, libc: loadLibc(koffi) };
    return library;
  } catch (cause) {
    failure = new ProcscopeError("UNSUPPORTED_HERE", "native functions cannot be called: koffi could not be loaded", {
      hint: "install the optional dependency for this platform: npm install koffi",
      cause,
    });
    throw failure;
  }
}

function loadLibc(koffi: Koffi): Library["libc"] {
  const musl = process.arch === "arm64" ? "libc.musl-aarch64.so.1" : "libc.musl-x86_64.so.1";
  let first: unknown;
  for (const name of ["libc.so.6", musl, "libc.so"]) {
    try {
      return koffi.load(name);
    } catch (error) {
      first ??= error;
    }
  }
  throw first;
}
