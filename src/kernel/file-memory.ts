/** Memory through /proc/PID/mem: no native code. */
import { closeSync, openSync, readSync } from "node:fs";
import { errnoOf } from "../base/errors.ts";
import { type RangeBuffer, reserveRanges } from "../base/memory-reader.ts";
import type { Address, Bytes, Pid } from "../base/units.ts";
import { accessError, memoryGone } from "./process-access.ts";
import type { ProcessMemory } from "./process-memory.ts";

/** Ranges closer together than this are read in one go: a read costs about as much as copying so much. */
const mergeGap: Bytes = 4096;
const mostMerged: Bytes = 4 << 20;

export class FileMemory implements ProcessMemory {
  readonly pid: Pid;
  readonly method = "/proc/PID/mem";
  private readonly fd: number;
  private scratch = Buffer.alloc(0);

  static open(pid: Pid): FileMemory {
    try {
      return new FileMemory(pid, openSync(`/proc/${pid}/mem`, "r"));
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "ENOENT" || errno === "ESRCH") throw memoryGone(pid);
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
      if (errno === "ESRCH") throw memoryGone(this.pid);
      if (errno === "EACCES" || errno === "EPERM") throw accessError(this.pid, "reading the memory", error);
      return 0;
    }
    // An address space that is gone (the process exited) reads as an empty file.
    if (copied === 0) throw memoryGone(this.pid);
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
  }
  reserveRanges(into, total);
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
