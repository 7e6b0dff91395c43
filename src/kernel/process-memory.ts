/**
 * The memory of a live process, read while it runs. process_vm_readv(2) where native functions can be called (it needs
 * CAP_SYS_PTRACE only, and takes 1,024 ranges a call); otherwise /proc/PID/mem, which needs no native code but for other
 * users' processes CAP_DAC_READ_SEARCH besides. The target is neither stopped nor traced by either.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import type { MemoryReader, RangeBuffer } from "../base/memory-reader.ts";
import type { Address, Bytes, Pid } from "../base/units.ts";
import { addressOf, errnoName, ffiAvailable, lastErrno, libcFunction } from "./ffi.ts";
import { kernelThreadFlag, readProcStat } from "./proc-stat.ts";
import { accessError } from "./process-access.ts";

export interface ProcessMemory extends MemoryReader, Disposable {
  readonly pid: Pid;
  /** How it is read: for `doctor`. */
  readonly method: "process_vm_readv" | "/proc/PID/mem";
}

/** IOV_MAX of include/uapi/linux/uio.h. */
const mostRanges = 1024;
/** One call of readRanges never brings more than this: callers read in batches. */
const mostBytes = 1 << 30;

/** Opens the memory of a process by the way that works here. Throws NO_PROCESS, PERMISSION (saying what is missing). */
export function openProcessMemory(pid: Pid): ProcessMemory {
  if (ffiAvailable().available) {
    const memory = new VmReadMemory(pid);
    const errno = memory.probe();
    if (errno === undefined) return memory;
    if (errno === "ESRCH") throw gone(pid);
    // A seccomp filter may refuse the call where the file is allowed: go on to it.
  }
  return openFileMemory(pid);
}

/** The way through /proc/PID/mem, whatever else would work. Throws as {@link openProcessMemory}. */
export function openFileMemory(pid: Pid): ProcessMemory {
  return FileMemory.open(pid);
}

/**
 * The same for a look that is probably short: through the file, which spares 6 ms of loading native code, until many
 * ranges are asked for at once. Throws as {@link openProcessMemory}.
 */
export function openMemoryBriefly(pid: Pid): ProcessMemory {
  try {
    return new BriefMemory(openFileMemory(pid));
  } catch (error) {
    // Without CAP_DAC_READ_SEARCH the call may be allowed where the file is not.
    if (error instanceof ProcscopeError && error.code === "PERMISSION") return openProcessMemory(pid);
    throw error;
  }
}

/** So many ranges are no longer a short look. */
const manyRanges = 64;

class BriefMemory implements ProcessMemory {
  readonly pid: Pid;
  private way: ProcessMemory;

  constructor(file: ProcessMemory) {
    this.pid = file.pid;
    this.way = file;
  }

  get method(): ProcessMemory["method"] {
    return this.way.method;
  }

  readInto(target: Uint8Array, offset: number, length: Bytes, address: Address): Bytes {
    return this.way.readInto(target, offset, length, address);
  }

  readRanges(addresses: Float64Array, lengths: Uint32Array, count: number, into: RangeBuffer): void {
    if (count >= manyRanges && this.way.method === "/proc/PID/mem") {
      const file = this.way;
      this.way = openProcessMemory(this.pid);
      file[Symbol.dispose]();
    }
    this.way.readRanges(addresses, lengths, count, into);
  }

  [Symbol.dispose](): void {
    this.way[Symbol.dispose]();
  }
}

type ProcessVmReadv = (
  pid: number,
  local: bigint,
  localCount: number,
  remote: bigint,
  remoteCount: number,
  flags: number,
) => number;

class VmReadMemory implements ProcessMemory {
  readonly pid: Pid;
  readonly method = "process_vm_readv";
  private readonly call: ProcessVmReadv = libcFunction<ProcessVmReadv>(
    "long process_vm_readv(int pid, intptr_t local, unsigned long local_count, intptr_t remote, unsigned long remote_count, unsigned long flags)",
  );
  /** struct iovec { void *iov_base; size_t iov_len; } of our side, and of the target's side behind it. */
  private readonly local = Buffer.alloc(16);
  private readonly remote = Buffer.alloc(16 * mostRanges);
  private readonly remoteWords = new Uint32Array(this.remote.buffer, this.remote.byteOffset, 4 * mostRanges);
  private readonly groups = new RangeGroups();
  private readonly localAddress = addressOf(this.local);
  private readonly remoteAddress = addressOf(this.remote);

  constructor(pid: Pid) {
    this.pid = pid;
  }

  /** The errno of trying to read nothing much, or undefined where reading is allowed. */
  probe(): string | undefined {
    // No process has its first page mapped, so a permitted call fails with EFAULT and a refused one with EPERM.
    this.setRemote(0, 8, 8);
    const errno = this.transfer(addressOf(probeTarget), 8, 1) < 0 ? errnoName(lastErrno()) : undefined;
    return errno === "EFAULT" ? undefined : errno;
  }

  readInto(target: Uint8Array, offset: number, length: Bytes, address: Address): Bytes {
    if (length === 0) return 0;
    this.setRemote(0, address, length);
    const copied = this.transfer(addressOf(target) + BigInt(offset), length, 1);
    return copied >= 0 ? copied : this.refused();
  }

  readRanges(addresses: Float64Array, lengths: Uint32Array, count: number, into: RangeBuffer): void {
    const { groups } = this;
    groups.place(addresses, lengths, count, into);
    const base = addressOf(into.data);
    for (let first = 0; first < groups.count; ) first = this.readGroups(first, addresses, lengths, into, base);
  }

  /** Reads a call's worth of groups and returns where to go on: behind them, or behind the first that is not readable. */
  private readGroups(
    first: number,
    addresses: Float64Array,
    lengths: Uint32Array,
    into: RangeBuffer,
    base: bigint,
  ): number {
    const { groups } = this;
    const last = Math.min(groups.count, first + mostRanges);
    let wanted = 0;
    for (let i = first; i < last; i++) {
      this.setRemote(i - first, groups.address[i]!, groups.length[i]!);
      wanted += groups.length[i]!;
    }
    if (wanted === 0) return last;
    let copied = this.transfer(base + BigInt(groups.offset[first]!), wanted, last - first);
    if (copied < 0) copied = this.refused();
    if (copied === wanted) return last;
    let i = first;
    for (; i < last && copied >= groups.length[i]!; i++) copied -= groups.length[i]!;
    // The kernel stops at the first byte that it cannot read: the members of that group are read one by one.
    const end = i + 1 < groups.count ? groups.member[i + 1]! : groups.members;
    for (let range = groups.member[i]!; range < end; range++) {
      const length = lengths[range]!;
      if (this.readInto(into.data, into.offsets[range]!, length, addresses[range]!) !== length)
        into.offsets[range] = -1;
    }
    return i + 1;
  }

  private setRemote(index: number, address: Address, length: Bytes): void {
    const words = this.remoteWords;
    words[4 * index] = address % 4294967296;
    words[4 * index + 1] = Math.floor(address / 4294967296);
    words[4 * index + 2] = length;
    words[4 * index + 3] = 0;
  }

  private transfer(localBase: bigint, length: Bytes, ranges: number): number {
    this.local.writeBigUInt64LE(localBase, 0);
    this.local.writeUInt32LE(length, 8);
    return Number(this.call(this.pid, this.localAddress, 1, this.remoteAddress, ranges, 0));
  }

  /** 0 bytes for an unreadable address; throws where the process is gone or the right was taken away. */
  private refused(): 0 {
    const errno = errnoName(lastErrno());
    if (errno === "ESRCH") throw gone(this.pid);
    if (errno === "EPERM") throw accessError(this.pid, "reading the memory");
    return 0;
  }

  [Symbol.dispose](): void {}
}

const probeTarget = Buffer.alloc(8);

/** The kernel looks up pages anew for each range; so much of a gap costs less to copy. */
const groupGap: Bytes = 512;
const largestGroup: Bytes = 1 << 20;

/** Ranges that follow each other closely, in the order given, as one range each: goroutines lie side by side. */
class RangeGroups {
  count = 0;
  /** Ranges in all groups. */
  members = 0;
  address = new Float64Array(0);
  length = new Uint32Array(0);
  /** Where a group lies in the destination. */
  offset = new Int32Array(0);
  /** The first range of a group. */
  member = new Int32Array(0);

  /** Makes the groups, gives each range its place, and makes the destination large enough. */
  place(addresses: Float64Array, lengths: Uint32Array, count: number, into: RangeBuffer): void {
    if (this.address.length < count) this.reserve(2 * count);
    if (into.offsets.length < count) into.offsets = new Int32Array(Math.max(count, 2 * into.offsets.length));
    this.count = 0;
    this.members = count;
    let total = 0;
    let end = Number.POSITIVE_INFINITY;
    for (let i = 0; i < count; i++) {
      const address = addresses[i]!;
      const length = lengths[i]!;
      const gap = address - end;
      if (gap >= 0 && gap <= groupGap && this.length[this.count - 1]! + gap + length <= largestGroup) {
        this.length[this.count - 1]! += gap + length;
        total += gap;
      } else {
        this.address[this.count] = address;
        this.length[this.count] = length;
        this.offset[this.count] = total;
        this.member[this.count++] = i;
      }
      into.offsets[i] = total;
      total += length;
      end = address + length;
      if (total > mostBytes) throw tooMuch();
    }
    enlarge(into, total);
  }

  private reserve(count: number): void {
    this.address = new Float64Array(count);
    this.length = new Uint32Array(count);
    this.offset = new Int32Array(count);
    this.member = new Int32Array(count);
  }
}

/** Ranges closer together than this are read in one go: a read costs about as much as copying so much. */
const mergeGap: Bytes = 4096;
const mostMerged: Bytes = 4 << 20;

class FileMemory implements ProcessMemory {
  readonly pid: Pid;
  readonly method = "/proc/PID/mem";
  private readonly fd: number;
  private scratch = Buffer.alloc(0);

  static open(pid: Pid): FileMemory {
    try {
      return new FileMemory(pid, openSync(`/proc/${pid}/mem`, "r"));
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "ENOENT" || errno === "ESRCH") throw gone(pid);
      throw accessError(pid, "reading the memory", error);
    }
  }

  constructor(pid: Pid, fd: number) {
    this.pid = pid;
    this.fd = fd;
  }

  readInto(target: Uint8Array, offset: number, length: Bytes, address: Address): Bytes {
    let done = 0;
    while (done < length) {
      const copied = this.readOnce(target, offset + done, length - done, address + done);
      if (copied === 0) break;
      done += copied;
    }
    return done;
  }

  private readOnce(target: Uint8Array, offset: number, length: Bytes, address: Address): Bytes {
    let copied = 0;
    try {
      copied = readSync(this.fd, target, offset, length, address);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "ESRCH") throw gone(this.pid);
      if (errno === "EACCES" || errno === "EPERM") throw accessError(this.pid, "reading the memory", error);
      return 0;
    }
    // An address space that is gone (the process exited) reads as an empty file.
    if (copied === 0) throw gone(this.pid);
    return copied;
  }

  readRanges(addresses: Float64Array, lengths: Uint32Array, count: number, into: RangeBuffer): void {
    place(lengths, count, into);
    const order = byAddress(addresses, count);
    for (let first = 0; first < count; ) {
      const start = addresses[order[first]!]!;
      let end = start + lengths[order[first]!]!;
      let last = first + 1;
      while (last < count && addresses[order[last]!]! - end <= mergeGap && end - start < mostMerged) {
        end = Math.max(end, addresses[order[last]!]! + lengths[order[last]!]!);
        last++;
      }
      this.readMerged(addresses, lengths, order.subarray(first, last), start, end - start, into);
      first = last;
    }
  }

  private readMerged(
    addresses: Float64Array,
    lengths: Uint32Array,
    members: Uint32Array,
    start: Address,
    length: Bytes,
    into: RangeBuffer,
  ): void {
    if (this.scratch.length < length) this.scratch = Buffer.allocUnsafeSlow(Math.max(length, 1 << 20));
    const copied = this.readInto(this.scratch, 0, length, start);
    for (const i of members) {
      const at = addresses[i]! - start;
      if (at + lengths[i]! <= copied) this.scratch.copy(into.data, into.offsets[i]!, at, at + lengths[i]!);
      else if (this.readInto(into.data, into.offsets[i]!, lengths[i]!, addresses[i]!) !== lengths[i]!)
        into.offsets[i] = -1;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

/** Gives each range its place in the buffer, one behind the other, and makes the buffer large enough. */
function place(lengths: Uint32Array, count: number, into: RangeBuffer): void {
  if (into.offsets.length < count) into.offsets = new Int32Array(Math.max(count, 2 * into.offsets.length));
  let total = 0;
  for (let i = 0; i < count; i++) {
    into.offsets[i] = total;
    total += lengths[i]!;
    if (total > mostBytes) throw tooMuch();
  }
  enlarge(into, total);
}

function enlarge(into: RangeBuffer, total: Bytes): void {
  if (into.data.length < total)
    into.data = Buffer.allocUnsafeSlow(Math.max(total, Math.min(2 * into.data.length, mostBytes)));
}

function tooMuch(): ProcscopeError {
  return new ProcscopeError("MALFORMED", "a single reading of more than 1 GiB of the target's memory was refused");
}

/** The indexes of the ranges in the order of their addresses. */
function byAddress(addresses: Float64Array, count: number): Uint32Array {
  const order = new Uint32Array(count);
  let sorted = true;
  for (let i = 0; i < count; i++) {
    order[i] = i;
    if (i > 0 && addresses[i]! < addresses[i - 1]!) sorted = false;
  }
  return sorted ? order : order.sort((a, b) => addresses[a]! - addresses[b]!);
}

/** The kernel says ESRCH also of what has a pid and no memory: kernel threads, and zombies. */
function gone(pid: Pid): ProcscopeError {
  const stat = statOf(pid);
  if (stat && stat.flags & kernelThreadFlag)
    return new ProcscopeError("UNSUPPORTED_TARGET", `process ${pid} is a kernel thread: it has no memory of its own`);
  if (stat?.state === zombieState)
    return new ProcscopeError("NO_PROCESS", `process ${pid} is a zombie: it exited, and its parent has not noticed`);
  return new ProcscopeError("NO_PROCESS", `no process ${pid}, or it exited`);
}

/** "Z" of /proc/PID/stat. */
const zombieState = 90;

function statOf(pid: Pid): ReturnType<typeof readProcStat> | undefined {
  try {
    return readProcStat(pid);
  } catch {
    return undefined;
  }
}
