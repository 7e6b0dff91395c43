/** mmap(2) of the rings that the kernel shares with us, as ArrayBuffers without a copy. */
import type { Bytes } from "../base/units.ts";
import { errnoName, lastErrno, libcFunction, memoryView } from "./ffi.ts";

const protRead = 1;
const protWrite = 2;
const flagShared = 1;
const mapFailed = 0xffffffffffffffffn;

type Mmap = (address: null, length: number, prot: number, flags: number, fd: number, offset: number) => bigint | null;
type Munmap = (address: bigint, length: number) => number;

/**
 * Mappings are taken back when the garbage collector has found that neither the buffer nor a view of it can be reached:
 * earlier would crash the process at the next access. The file descriptor can be closed at any time; the kernel keeps
 * the ring for as long as it is mapped.
 */
const unmapper = new FinalizationRegistry<{ address: bigint; length: number }>(({ address, length }) => {
  libcFunction<Munmap>("int munmap(void *addr, size_t length)")(address, length);
});

/** The errno name where the kernel refuses the mapping (EPERM: more locked memory than allowed). */
export interface MappingFailure {
  readonly errno: string;
}

/** Maps `length` bytes of a file descriptor at `offset`, shared with the kernel. */
export function mapSharedMemory(
  fd: number,
  length: Bytes,
  options: { write: boolean; offset?: Bytes },
): ArrayBuffer | MappingFailure {
  const mmap = libcFunction<Mmap>("void *mmap(void *addr, size_t length, int prot, int flags, int fd, long offset)");
  const prot = options.write ? protRead | protWrite : protRead;
  const address = mmap(null, length, prot, flagShared, fd, options.offset ?? 0);
  if (address === null || BigInt.asUintN(64, address) === mapFailed) return { errno: errnoName(lastErrno()) };
  const buffer = memoryView(address, length);
  unmapper.register(buffer, { address, length });
  return buffer;
}
