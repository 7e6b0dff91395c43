/** Memory through process_vm_readv(2): up to 1,024 ranges a call. */
import { type RangeBuffer, reserveRanges } from "../base/memory-reader.ts";
import type { Address, Bytes, Pid } from "../base/units.ts";
import { addressOf, errnoName, lastErrno, libcFunction } from "./ffi.ts";
import { accessError, memoryGone } from "./process-access.ts";
import type { ProcessMemory } from "./process-memory.ts";

/** IOV_MAX of include/uapi/linux/uio.h. */
const mostRanges = 1024;

type ProcessVmReadv = (
  pid: number,
  local: bigint,
  localCount: number,
  remote: bigint,
  remoteCount: number,
  flags: number,
) => number;

export class VmReadMemory implements ProcessMemory {
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
    if (errno === "ESRCH") throw memoryGone(this.pid);
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
    }
    reserveRanges(into, total);
  }

  private reserve(count: number): void {
    this.address = new Float64Array(count);
    this.length = new Uint32Array(count);
    this.offset = new Int32Array(count);
    this.member = new Int32Array(count);
  }
}
