/** Raw system calls, for those that the C library has no function for. Numbers: asm/unistd.h of each architecture. */
import { ProcscopeError } from "../base/errors.ts";
import { addressOf, lastErrno, libcFunction } from "./ffi.ts";

/** x86-64 first, arm64 second. */
const numbers = {
  bpf: [321, 280],
  perf_event_open: [298, 241],
  gettid: [186, 178],
  pidfd_open: [434, 434],
  pidfd_getfd: [438, 438],
} as const;

export type SyscallName = keyof typeof numbers;

/** A number, an address, or a buffer whose address is passed. */
export type SyscallArgument = number | bigint | ArrayBufferView;

type RawSyscall = (n: number, ...args: (number | bigint)[]) => number;

/**
 * Calls the kernel as its own convention says: the result, or minus errno. Throws UNSUPPORTED_HERE where koffi is
 * missing or the architecture's numbers are not known.
 */
export function syscall(name: SyscallName, ...args: readonly SyscallArgument[]): number {
  const raw = libcFunction<RawSyscall>(
    "long syscall(long n, intptr_t a, intptr_t b, intptr_t c, intptr_t d, intptr_t e, intptr_t f)",
  );
  const words = args.map((arg) => (typeof arg === "object" ? addressOf(arg) : arg));
  while (words.length < 6) words.push(0);
  const result = Number(raw(syscallNumber(name), ...words));
  return result === -1 ? -lastErrno() : result;
}

function syscallNumber(name: SyscallName): number {
  const column = process.arch === "x64" ? 0 : process.arch === "arm64" ? 1 : undefined;
  if (column === undefined) {
    throw new ProcscopeError("UNSUPPORTED_HERE", `system call numbers of ${process.arch} are not known`, {
      hint: "use x64 or arm64",
    });
  }
  return numbers[name][column];
}
