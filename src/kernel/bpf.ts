/**
 * bpf(2), as far as reading the kernel needs it: programs of type TRACING, iterator links, tracepoints with BTF types, and
 * ring buffers. Everything is held by file descriptors and ends with them, at the latest with this process.
 */
import { closeSync, readFileSync, readSync } from "node:fs";
import { ProcscopeError } from "../base/errors.ts";
import type { BtfId } from "./btf.ts";
import { addressOf, errnoName, libcFunction } from "./ffi.ts";
import { syscall } from "./syscall.ts";

/** enum bpf_cmd */
const command = { mapCreate: 0, progLoad: 5, rawTracepointOpen: 17, linkCreate: 28, iterCreate: 33 } as const;
const progTypeTracing = 26;
const mapTypeArray = 2;
const mapTypeRingbuf = 27;
/** BPF_F_MMAPABLE */
const flagMmapable = 1024;

/** enum bpf_attach_type */
export const bpfAttach = { rawTracepoint: 23, iterator: 28 } as const;

export interface BpfProgram {
  /** At most 15 characters; shown by bpftool. */
  readonly name: string;
  /** From {@link BpfAssembler.assemble}. */
  readonly code: Buffer;
  /** One of {@link bpfAttach}. */
  readonly attach: number;
  /** The BTF type that it is for: the function bpf_iter_X, or the typedef btf_trace_X. */
  readonly attachTo: BtfId;
}

/**
 * Loads a program and returns its file descriptor. Throws PERMISSION where bpf(2) is refused, UNSUPPORTED_HERE where the
 * kernel's verifier does not take it (its last words are in the message).
 */
export function loadProgram(program: BpfProgram): number {
  const license = Buffer.from("GPL\0");
  const attr = Buffer.alloc(144);
  attr.writeUInt32LE(progTypeTracing, 0);
  attr.writeUInt32LE(program.code.length / 8, 4);
  attr.writeBigUInt64LE(addressOf(program.code), 8);
  attr.writeBigUInt64LE(addressOf(license), 16);
  attr.write(program.name.slice(0, 15), 48, "latin1");
  attr.writeUInt32LE(program.attach, 68);
  attr.writeUInt32LE(program.attachTo, 108);
  const fd = loadPatiently(attr);
  if (fd >= 0) return fd;
  throw bpfError(`loading the BPF program ${program.name}`, fd, verifierWords(attr));
}

/** An iterator over the kernel's objects: link once, open a scan as often as wanted. */
export class BpfIterator {
  readonly #program: number;
  readonly #link: number;
  readonly #createAttr = Buffer.alloc(8);

  /** Throws as {@link loadProgram}. */
  constructor(program: Omit<BpfProgram, "attach">) {
    this.#program = loadProgram({ ...program, attach: bpfAttach.iterator });
    const attr = Buffer.alloc(64);
    attr.writeUInt32LE(this.#program, 0);
    attr.writeUInt32LE(bpfAttach.iterator, 8);
    this.#link = bpf(command.linkCreate, attr);
    if (this.#link < 0) {
      closeSync(this.#program);
      throw bpfError(`linking the BPF iterator ${program.name}`, this.#link);
    }
    this.#createAttr.writeUInt32LE(this.#link, 0);
  }

  /**
   * Runs the iterator over all objects and gathers what it wrote. The buffer grows as needed and is reused: what is
   * returned stays valid until the next call.
   */
  scan(): Buffer {
    const fd = bpf(command.iterCreate, this.#createAttr);
    if (fd < 0) throw bpfError("starting a BPF iterator", fd);
    try {
      return this.#readAll(fd);
    } finally {
      closeSync(fd);
    }
  }

  close(): void {
    closeSync(this.#link);
    closeSync(this.#program);
  }

  #buffer = Buffer.allocUnsafeSlow(1 << 20);

  #readAll(fd: number): Buffer {
    let length = 0;
    for (;;) {
      // The kernel hands out at most 8 pages of whole records a read, so a small reserve never cuts one.
      if (this.#buffer.length - length < 1 << 16) {
        const grown = Buffer.allocUnsafeSlow(this.#buffer.length * 2);
        this.#buffer.copy(grown, 0, 0, length);
        this.#buffer = grown;
      }
      const read = readSync(fd, this.#buffer, length, this.#buffer.length - length, null);
      if (read === 0) return this.#buffer.subarray(0, length);
      length += read;
    }
  }
}

/** Attaches a loaded program of type rawTracepoint to what it is for; returns the link's file descriptor. */
export function attachTracing(program: number, name: string): number {
  const attr = Buffer.alloc(16);
  attr.writeUInt32LE(program, 8);
  const fd = bpf(command.rawTracepointOpen, attr);
  if (fd < 0) throw bpfError(`attaching BPF to ${name}`, fd);
  return fd;
}

/** How often the kernel skipped a program because it ran on that CPU already (/proc/PID/fdinfo). */
export function missedRuns(program: number): number {
  const info = readFileSync(`/proc/self/fdinfo/${program}`, "latin1");
  return Number(/^recursion_misses:\s*(\d+)/m.exec(info)?.[1] ?? 0);
}

/** Creates a ring buffer of `size` bytes (a power of two of pages); returns its file descriptor. */
export function createRingBufferMap(name: string, size: number): number {
  return createMap(name, { type: mapTypeRingbuf, keySize: 0, valueSize: 0, entries: size, flags: 0 });
}

/** Creates an array of 64-bit counters that can be mapped into memory; returns its file descriptor. */
export function createCounterMap(name: string, counters: number): number {
  return createMap(name, { type: mapTypeArray, keySize: 4, valueSize: 8, entries: counters, flags: flagMmapable });
}

interface MapShape {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly entries: number;
  readonly flags: number;
}

function createMap(name: string, shape: MapShape): number {
  const attr = Buffer.alloc(72);
  attr.writeUInt32LE(shape.type, 0);
  attr.writeUInt32LE(shape.keySize, 4);
  attr.writeUInt32LE(shape.valueSize, 8);
  attr.writeUInt32LE(shape.entries, 12);
  attr.writeUInt32LE(shape.flags, 16);
  attr.write(name.slice(0, 15), 28, "latin1");
  const fd = bpf(command.mapCreate, attr);
  if (fd < 0) throw bpfError(`creating the BPF map ${name}`, fd);
  return fd;
}

function bpf(number: number, attr: Buffer): number {
  return syscall("bpf", number, attr, attr.length);
}

type SigMask = (how: number, set: Buffer, old: Buffer | null) => number;
const sigBlock = 0;
const sigSetmask = 2;

/** The verifier gives up with EAGAIN when a signal comes, as a CPU profiler's does all the time: they wait meanwhile. */
function loadPatiently(attr: Buffer): number {
  const mask = libcFunction<SigMask>("int pthread_sigmask(int how, const void *set, void *old)");
  const before = Buffer.alloc(128);
  mask(sigBlock, Buffer.alloc(128, 0xff), before);
  try {
    for (let attempt = 1; ; attempt++) {
      const fd = bpf(command.progLoad, attr);
      if (attempt === 5 || errnoName(-fd) !== "EAGAIN") return fd;
    }
  } finally {
    mask(sigSetmask, before, null);
  }
}

/** What the verifier says of a program that it refused: the same load again, with a log. */
function verifierWords(attr: Buffer): string {
  const log = Buffer.alloc(1 << 16);
  attr.writeUInt32LE(1, 24);
  attr.writeUInt32LE(log.length, 28);
  attr.writeBigUInt64LE(addressOf(log), 32);
  const fd = loadPatiently(attr);
  if (fd >= 0) closeSync(fd);
  const lines = log
    .toString("latin1", 0, Math.max(0, log.indexOf(0)))
    .trim()
    .split("\n");
  return lines
    .filter((line) => !line.startsWith("processed "))
    .slice(-2)
    .join("; ");
}

function bpfError(doing: string, result: number, detail = ""): ProcscopeError {
  const errno = errnoName(-result);
  if (errno === "EPERM" || errno === "EACCES") {
    // With words from the verifier it is a program that the kernel does not take, not a missing right.
    if (detail === "") {
      return new ProcscopeError("PERMISSION", `${doing}: the kernel refused (${errno})`, {
        hint: "needs CAP_BPF and CAP_PERFMON (run as root, or setpriv --inh-caps=+bpf,+perfmon --ambient-caps=+bpf,+perfmon); in a container also a seccomp profile that allows bpf",
      });
    }
  }
  return new ProcscopeError("UNSUPPORTED_HERE", `${doing}: ${errno}${detail === "" ? "" : `: ${detail}`}`, {
    hint: "needs Linux 5.8 or newer with CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF; processes can still be read through /proc",
  });
}
