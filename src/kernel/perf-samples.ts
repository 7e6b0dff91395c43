/**
 * What a drain of perf rings gives: samples in columns that are reused from drain to drain, and the rare other records
 * as objects.
 *
 * Addresses are numbers. Those of the kernel (the upper half of the address space) are negative, as the signed 64-bit
 * value of the word: exact, and told apart from user addresses by their sign.
 */
import type { Address, Nanoseconds, Pid, Tid } from "../base/units.ts";

/** PERF_SAMPLE_* bits that {@link SampleBatch} knows how to read. */
export const sampleType = { ip: 1, tid: 2, time: 4, callchain: 0x20, regsUser: 0x1000, stackUser: 0x2000 } as const;

/** enum perf_event_type */
const recordType = {
  mmap: 1,
  lost: 2,
  comm: 3,
  exit: 4,
  throttle: 5,
  unthrottle: 6,
  fork: 7,
  sample: 9,
  mmap2: 10,
  lostSamples: 13,
} as const;

const miscCommExec = 1 << 13;
const protExec = 4;
/** Callchain entries from here up are PERF_CONTEXT_*: they say whose frames follow. */
const contextFloor = 0xfffff000;

/** A record that is not a sample: the process or its address space changed. */
export type PerfChange =
  | { readonly kind: "comm"; pid: Pid; tid: Tid; comm: string; exec: boolean; time: Nanoseconds }
  | { readonly kind: "fork"; pid: Pid; parentPid: Pid; tid: Tid; parentTid: Tid; time: Nanoseconds }
  | { readonly kind: "exit"; pid: Pid; parentPid: Pid; tid: Tid; parentTid: Tid; time: Nanoseconds }
  | {
      readonly kind: "mmap";
      pid: Pid;
      tid: Tid;
      address: Address;
      length: number;
      fileOffset: number;
      device: string;
      inode: number;
      executable: boolean;
      path: string;
      time: Nanoseconds;
    };

export class SampleBatch {
  /** Samples in the columns below. */
  count = 0;
  pid: Int32Array = new Int32Array(256);
  tid: Int32Array = new Int32Array(256);
  /** On the clock of process.hrtime() (CLOCK_MONOTONIC). Ordered within one CPU only. */
  time: Float64Array = new Float64Array(256);
  /**
   * Frames of sample i are `frames[frameStart[i] … frameStart[i + 1])`, leaf first: those of the kernel (negative), then
   * those of the program from `userStart[i]` on. Frames after the first of the program are return addresses: look up
   * the instruction before. The first is the instruction itself, also under kernel frames.
   */
  frameStart: Uint32Array = new Uint32Array(257);
  userStart: Uint32Array = new Uint32Array(256);
  frames: Float64Array = new Float64Array(4096);
  /**
   * User registers in the order of their bits in the mask, {@link registerCount} a sample. A value of 2^53 or more is
   * rounded: it is no address. Meaningless where `hasRegisters[i]` is 0 (a kernel thread, or one just exiting).
   */
  registers: Float64Array;
  hasRegisters: Uint8Array = new Uint8Array(256);
  /**
   * The bytes at the stack pointer: `stack[stackStart[i] … stackStart[i] + stackLength[i])`. The length is what could be
   * read, at most what was asked for. A multiple of 8, and stackStart too.
   */
  stackStart: Uint32Array = new Uint32Array(256);
  stackLength: Uint32Array = new Uint32Array(256);
  stack: Buffer = Buffer.alloc(16384);
  /** Records other than samples, in order within one CPU. */
  readonly changes: PerfChange[] = [];
  /** How many registers the mask of the event has. */
  readonly registerCount: number;
  readonly #type: number;
  #stackWords: Uint32Array = wordsOf(this.stack);
  #stackUsed = 0;

  /** Lost records and samples since the batch was made: the kernel found the ring full. */
  lost = 0;
  /** How often the kernel paused an event because its samples cost too much (kernel.perf_cpu_time_max_percent). */
  throttled = 0;
  /** Records that did not hold together and were skipped. */
  malformed = 0;

  /** `type` is the event's PERF_SAMPLE_* mask, `registerMask` its sample_regs_user. */
  constructor(type: number, registerMask: number) {
    this.#type = type;
    this.registerCount = type & sampleType.regsUser ? bitCount(registerMask) : 0;
    this.registers = new Float64Array(this.pid.length * this.registerCount);
  }

  /** Forgets samples and changes, not the counters of what was lost. */
  clear(): void {
    this.count = 0;
    this.changes.length = 0;
    this.#stackUsed = 0;
  }

  /** Adds one record of a ring; the signature is {@link PerfRing.read}'s visitor. Samples of other pids can be refused. */
  add(words: Uint32Array, mask: number, at: number, type: number, misc: number, size: number, onlyPid: Pid): void {
    switch (type) {
      case recordType.sample:
        if (onlyPid === 0 || words[(at + 4) & mask] === onlyPid) this.#addSample(words, mask, at, size);
        return;
      case recordType.lost:
        this.lost += words[(at + 4) & mask]!;
        return;
      case recordType.lostSamples:
        this.lost += words[(at + 2) & mask]!;
        return;
      case recordType.throttle:
        this.throttled++;
        return;
      case recordType.comm:
      case recordType.fork:
      case recordType.exit:
      case recordType.mmap2:
        if (onlyPid === 0 || words[(at + 2) & mask] === onlyPid) this.#addChange(words, mask, at, type, misc, size);
        return;
      default:
    }
  }

  #addSample(words: Uint32Array, mask: number, at: number, size: number): void {
    const i = this.count;
    if (i === this.pid.length) this.#growSamples();
    const end = at + size / 4;
    // Fields come in the order of perf_event_open(2): ip, pid/tid, time, callchain, user registers, user stack.
    this.pid[i] = words[(at + 4) & mask]!;
    this.tid[i] = words[(at + 5) & mask]!;
    this.time[i] = words[(at + 6) & mask]! + words[(at + 7) & mask]! * 4294967296;
    let next = this.#addFrames(words, mask, at + 8, end, i);
    if (next > 0 && this.#type & sampleType.regsUser) next = this.#addRegisters(words, mask, next, end, i);
    if (next > 0 && this.#type & sampleType.stackUser) next = this.#addStack(words, mask, next, end, i);
    if (next < 0) this.malformed++;
    else this.count++;
  }

  /** Copies a callchain; returns the place after it, or -1 where it does not fit its record. */
  #addFrames(words: Uint32Array, mask: number, at: number, end: number, i: number): number {
    const length = words[at & mask]!;
    let place = at + 2;
    if (length > (end - place) / 2) return -1;
    let used = this.frameStart[i]!;
    while (used + length > this.frames.length) this.frames = grown(this.frames);
    const { frames } = this;
    let user = -1;
    for (let k = 0; k < length; k++, place += 2) {
      const low = words[place & mask]!;
      const high = words[(place + 1) & mask]!;
      if (high === 0xffffffff && low >= contextFloor) continue;
      // A kernel address is at least 2^63: as a signed number it is negative.
      const address = low + (high | 0) * 4294967296;
      if (user < 0 && address >= 0) user = used;
      frames[used++] = address;
    }
    this.userStart[i] = user < 0 ? used : user;
    this.frameStart[i + 1] = used;
    return place;
  }

  #addRegisters(words: Uint32Array, mask: number, at: number, end: number, i: number): number {
    const present = words[at & mask] !== 0;
    this.hasRegisters[i] = present ? 1 : 0;
    if (!present) return at + 2;
    const n = this.registerCount;
    if (at + 2 + n * 2 > end) return -1;
    for (let k = 0, place = at + 2; k < n; k++, place += 2) {
      this.registers[i * n + k] = words[place & mask]! + words[(place + 1) & mask]! * 4294967296;
    }
    return at + 2 + n * 2;
  }

  #addStack(words: Uint32Array, mask: number, at: number, end: number, i: number): number {
    const size = words[at & mask]!;
    this.stackStart[i] = this.#stackUsed * 4;
    this.stackLength[i] = 0;
    if (size === 0) return at + 2;
    const count = size / 4;
    // The data is followed by how much of it was really read.
    if (at + 2 + count + 2 > end) return -1;
    const read = Math.min(words[(at + 2 + count) & mask]!, size);
    while (this.#stackUsed + count > this.#stackWords.length) this.#growStack();
    for (let k = 0; k < count; k++) this.#stackWords[this.#stackUsed + k] = words[(at + 2 + k) & mask]!;
    this.#stackUsed += count;
    this.stackLength[i] = read - (read % 8);
    return at + 4 + count;
  }

  #addChange(words: Uint32Array, mask: number, at: number, type: number, misc: number, size: number): void {
    const bytes = Buffer.alloc(size);
    const copy = wordsOf(bytes);
    for (let k = 0; k < size / 4; k++) copy[k] = words[(at + k) & mask]!;
    if (size < (type === recordType.mmap2 ? 88 : type === recordType.comm ? 40 : 48)) {
      this.malformed++;
      return;
    }
    if (type === recordType.comm) this.changes.push(commChange(bytes, misc));
    else if (type === recordType.mmap2) this.changes.push(mmapChange(bytes));
    else this.changes.push(taskChange(bytes, type === recordType.fork ? "fork" : "exit"));
  }

  #growSamples(): void {
    this.pid = grown(this.pid);
    this.tid = grown(this.tid);
    this.time = grown(this.time);
    const starts = new Uint32Array(this.pid.length + 1);
    starts.set(this.frameStart);
    this.frameStart = starts;
    this.userStart = grown(this.userStart);
    this.hasRegisters = grown(this.hasRegisters);
    this.stackStart = grown(this.stackStart);
    this.stackLength = grown(this.stackLength);
    const registers = new Float64Array(this.pid.length * this.registerCount);
    registers.set(this.registers.subarray(0, this.count * this.registerCount));
    this.registers = registers;
  }

  #growStack(): void {
    const larger = Buffer.alloc(this.stack.length * 2);
    this.stack.copy(larger);
    this.stack = larger;
    this.#stackWords = wordsOf(larger);
  }
}

// With sample_id_all each of these ends with the sample's tid (8 bytes) and time (8 bytes).

function commChange(bytes: Buffer, misc: number): PerfChange {
  return {
    kind: "comm",
    pid: bytes.readUInt32LE(8),
    tid: bytes.readUInt32LE(12),
    comm: textUntilNul(bytes, 16, bytes.length - 16),
    exec: (misc & miscCommExec) !== 0,
    time: wideAt(bytes, bytes.length - 8),
  };
}

function taskChange(bytes: Buffer, kind: "fork" | "exit"): PerfChange {
  return {
    kind,
    pid: bytes.readUInt32LE(8),
    parentPid: bytes.readUInt32LE(12),
    tid: bytes.readUInt32LE(16),
    parentTid: bytes.readUInt32LE(20),
    time: wideAt(bytes, 24),
  };
}

function mmapChange(bytes: Buffer): PerfChange {
  return {
    kind: "mmap",
    pid: bytes.readUInt32LE(8),
    tid: bytes.readUInt32LE(12),
    address: wideAt(bytes, 16),
    length: wideAt(bytes, 24),
    fileOffset: wideAt(bytes, 32),
    device: `${hex2(bytes.readUInt32LE(40))}:${hex2(bytes.readUInt32LE(44))}`,
    inode: wideAt(bytes, 48),
    executable: (bytes.readUInt32LE(64) & protExec) !== 0,
    path: textUntilNul(bytes, 72, bytes.length - 16),
    time: wideAt(bytes, bytes.length - 8),
  };
}

function wideAt(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 4294967296;
}

function textUntilNul(bytes: Buffer, start: number, end: number): string {
  const nul = bytes.indexOf(0, start);
  return bytes.toString("utf8", start, nul < 0 || nul > end ? end : nul);
}

/** As /proc/PID/maps writes a device number. */
function hex2(value: number): string {
  return value.toString(16).padStart(2, "0");
}

function bitCount(mask: number): number {
  let count = 0;
  for (let rest = mask >>> 0; rest !== 0; rest &= rest - 1) count++;
  return count;
}

function wordsOf(buffer: Buffer): Uint32Array {
  return new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.length >>> 2);
}

function grown<C extends Float64Array | Int32Array | Uint32Array | Uint8Array>(column: C): C {
  const larger = new (column.constructor as new (length: number) => C)(column.length * 2);
  larger.set(column);
  return larger;
}
