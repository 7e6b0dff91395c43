/** struct perf_event_attr (include/uapi/linux/perf_event.h) and the calls on one event. */
import { errnoName, lastErrno, libcFunction } from "./ffi.ts";
import { syscall } from "./syscall.ts";

/** PERF_ATTR_SIZE_VER5 (Linux 4.1): all that is used here, and old kernels take no more. */
const attrSize = 112;
const typeSoftware = 1;
const clockMonotonic = 1;
const flagCloexec = 8;

/**
 * Software events, which need no counters in the CPU and so work in every virtual machine. "task-clock" runs while the
 * thread does, "cpu-clock" while the CPU does, "context-switches" counts each time the thread leaves its CPU.
 */
export const perfEvent = { "cpu-clock": 0, "task-clock": 1, "context-switches": 3 } as const;
export type PerfEventName = keyof typeof perfEvent;

/** Bits of the flags word, in the order of the header. */
const bit = {
  inherit: 1,
  excludeKernel: 5,
  excludeHypervisor: 6,
  excludeIdle: 7,
  mmap: 8,
  comm: 9,
  freq: 10,
  task: 13,
  sampleIdAll: 18,
  excludeCallchainKernel: 21,
  mmap2: 23,
  commExec: 24,
  useClockid: 25,
  inheritThread: 35,
} as const;

export interface PerfAttr {
  readonly event: PerfEventName;
  /** Samples a second, or one sample every `period` events (nanoseconds for the clocks). */
  readonly rate: { readonly frequency: number } | { readonly period: number };
  /** PERF_SAMPLE_* */
  readonly sampleType: number;
  /** sample_regs_user: bits of the architecture's asm/perf_regs.h. */
  readonly registers: number;
  /** sample_stack_user: bytes from the stack pointer up, a multiple of 8. */
  readonly stackBytes: number;
  /** Samples in kernel mode, and the kernel's part of call chains. */
  readonly kernel: boolean;
  /** "threads": new threads of the process are sampled too; "all": also child processes. */
  readonly inherit: "none" | "threads" | "all";
  readonly excludeIdle: boolean;
  /** sample_max_stack; 0 for the kernel's own limit (kernel.perf_event_max_stack, 127). */
  readonly maxFrames: number;
}

export function encodePerfAttr(attr: PerfAttr): Buffer {
  const buffer = Buffer.alloc(attrSize);
  buffer.writeUInt32LE(typeSoftware, 0);
  buffer.writeUInt32LE(attrSize, 4);
  buffer.writeUInt32LE(perfEvent[attr.event], 8);
  const frequency = "frequency" in attr.rate;
  const rate = "frequency" in attr.rate ? attr.rate.frequency : attr.rate.period;
  buffer.writeBigUInt64LE(BigInt(rate), 16);
  buffer.writeUInt32LE(attr.sampleType, 24);
  let flags = 0n;
  const set = (name: keyof typeof bit, value: boolean): void => {
    if (value) flags |= 1n << BigInt(bit[name]);
  };
  set("inherit", attr.inherit !== "none");
  set("inheritThread", attr.inherit === "threads");
  set("excludeKernel", !attr.kernel);
  set("excludeHypervisor", !attr.kernel);
  set("excludeCallchainKernel", !attr.kernel);
  set("excludeIdle", attr.excludeIdle);
  set("freq", frequency);
  for (const name of ["mmap", "mmap2", "comm", "commExec", "task", "sampleIdAll", "useClockid"] as const)
    set(name, true);
  buffer.writeBigUInt64LE(flags, 40);
  buffer.writeBigUInt64LE(BigInt(attr.registers), 80);
  buffer.writeUInt32LE(attr.stackBytes, 88);
  buffer.writeInt32LE(clockMonotonic, 92);
  buffer.writeUInt16LE(attr.maxFrames, 108);
  return buffer;
}

/** perf_event_open(2): a file descriptor, or minus errno. `pid` -1 is every process, `cpu` -1 every CPU. */
export function perfEventOpen(attr: Buffer, pid: number, cpu: number): number {
  return syscall("perf_event_open", attr, pid, cpu, -1, flagCloexec);
}

type Ioctl = (fd: number, request: number, argument: number) => number;

/** Stops an event for good: a mapped ring would keep it running after its file descriptor is closed. */
export function perfDisable(fd: number): void {
  ioctl()(fd, 0x2401, 0);
}

/** Sends an event's records to the ring of another; returns the errno name where the kernel refuses. */
export function perfSetOutput(fd: number, ringFd: number): string | undefined {
  return ioctl()(fd, 0x2405, ringFd) < 0 ? errnoName(lastErrno()) : undefined;
}

function ioctl(): Ioctl {
  return libcFunction<Ioctl>("int ioctl(int fd, unsigned long request, intptr_t argument)");
}
