/**
 * Three small BPF programs that tell of the ends of processes: at each successful execve, which takes the command line
 * while it is there; when the last thread of a process exits, where everything is known but the last slice of CPU time;
 * and when the process's main thread is freed, where CPU time is complete to the nanosecond. The last comes from an RCU
 * callback: some milliseconds later as a rule, but an idle CPU can keep it for many seconds.
 */
import { closeSync } from "node:fs";
import { cpus } from "node:os";
import { performance } from "node:perf_hooks";
import type { Bytes } from "../base/units.ts";
import { attachTracing, bpfAttach, createCounterMap, createRingBufferMap, loadProgram, missedRuns } from "./bpf.ts";
import { BpfAssembler, type BpfRegister, bpfHelper } from "./bpf-assembler.ts";
import { BpfRecordWriter } from "./bpf-record.ts";
import { BpfCounters, BpfRing } from "./bpf-ring.ts";
import { type Btf, type BtfId, btfKind, kernelBtf } from "./btf.ts";

/** `kind` of a record. */
export const exitEventKind = { exec: 1, exit: 2, free: 3 } as const;

/** Offsets of the records' fields in bytes; u64 but where the comment says otherwise. */
export const exitEvent = {
  kind: 0, // u32
  pid: 4, // u32
  /** After boot, in ns, on the clock that counts suspend. */
  start: 8,
  comm: 16, // 16 bytes

  // exec
  argumentLength: 32, // u32: bytes of `arguments` that were read
  arguments: 40, // NUL between and after

  // exit and free: nine counters of the main thread, then the same nine summed over the threads that were reaped, at
  // `free` the main thread included
  own: 32,
  group: 104,
  freeSize: 176,

  // exit: the same nine of the thread that ended last, zeros where that is the main thread
  last: 176,
  ppid: 248, // u32
  uid: 252, // u32
  exitCode: 256, // u32: of the main thread, as wait(2) gives it
  groupExitCode: 260, // u32: of the whole process, where it was ended as a whole
  signalFlags: 264, // u32: SIGNAL_*
  flags: 268, // u32: PF_* of the main thread
  peakPages: 272,
  // ns that all its threads waited for a CPU, for block IO and for pages from swap; see delayKinds
  delays: 280,
  exitSize: 304,
} as const;

/** The nine counters in their order, 8 bytes each. */
const taskCounters = [
  "se.sum_exec_runtime",
  "utime",
  "stime",
  "min_flt",
  "maj_flt",
  "ioac.read_bytes",
  "ioac.write_bytes",
  "nvcsw",
  "nivcsw",
];
const signalCounters = ["sum_sched_runtime", ...taskCounters.slice(1)];

/**
 * The three delays: the member of a task itself, of its struct task_delay_info, and of the sums in which the kernel keeps
 * those of threads that ended (struct taskstats, there once a process has had two threads).
 */
const delays = [
  { task: "sched_info.run_delay", info: undefined, sum: "cpu_delay_total" },
  { task: undefined, info: "blkio_delay", sum: "blkio_delay_total" },
  { task: undefined, info: "swapin_delay", sum: "swapin_delay_total" },
] as const;

/** Bytes of a command line that are kept. */
const mostArguments: Bytes = 256;
const execSize = exitEvent.arguments + mostArguments;
/**
 * Room for some 650 processes a CPU that start and end between two reads, in a power of two. It counts twice in our
 * resident size, being mapped twice in a row.
 */
const ringBytes: Bytes = 2 ** Math.ceil(Math.log2(Math.min(32, Math.max(2, cpus().length)) * (512 << 10)));

/** How often skipped runs are looked up, in ms. */
const missedInterval = 10_000;

const task: BpfRegister = 6;
const leader: BpfRegister = 7;
const object: BpfRegister = 8;
const event: BpfRegister = 9;

export class BpfExitEvents {
  readonly #ring: BpfRing;
  readonly #lost: BpfCounters;
  #programs: number[] = [];
  #missed = 0;
  #askMissedAt = 0;
  #fds: number[] = [];

  /** Loads and attaches. Throws PERMISSION, UNSUPPORTED_HERE as {@link loadProgram}. */
  constructor() {
    try {
      const btf = kernelBtf();
      const ring = this.#keep(createRingBufferMap("procscope_exits", ringBytes));
      const lost = this.#keep(createCounterMap("procscope_lost", 1));
      this.#ring = new BpfRing(ring, ringBytes);
      this.#lost = new BpfCounters(lost);
      this.#attach(btf, "sched_process_exec", execProgram(btf, ring, lost));
      this.#attach(btf, "sched_process_exit", exitProgram(btf, ring, lost));
      this.#attach(btf, "sched_process_free", freeProgram(btf, ring, lost));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Records that the kernel could not write because the ring was full, and calls that it skipped because the program was
   * interrupted by itself. Never decreases.
   */
  get lost(): number {
    const now = performance.now();
    // Misses are next to impossible, and asking for them opens a file for each program.
    if (now >= this.#askMissedAt) {
      this.#missed = this.#programs.reduce((sum, program) => sum + missedRuns(program), 0);
      this.#askMissedAt = now + missedInterval;
    }
    return this.#lost.get(0) + this.#missed;
  }

  /** Hands over the records since the last call; see {@link exitEvent} for what lies in them. */
  read(visit: (data: Buffer, at: number, length: number) => void): void {
    this.#ring.read(visit);
  }

  close(): void {
    for (const fd of this.#fds.reverse()) closeSync(fd);
    this.#fds = [];
    this.#programs = [];
  }

  #attach(btf: Btf, tracepoint: string, code: Buffer): void {
    const attachTo = btf.get(btfKind.typedef, `btf_trace_${tracepoint}`);
    const name = tracepoint.replace("sched_process", "procscope");
    const program = this.#keep(loadProgram({ name, code, attach: bpfAttach.rawTracepoint, attachTo }));
    this.#programs.push(program);
    this.#keep(attachTracing(program, tracepoint));
  }

  #keep(fd: number): number {
    this.#fds.push(fd);
    return fd;
  }
}

/** tp_btf/sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm) */
function execProgram(btf: Btf, ring: number, lost: number): Buffer {
  const asm = new BpfAssembler();
  const struct = btf.get(btfKind.struct, "task_struct");
  asm.load(8, task, 1, 0);
  reserve(asm, ring, lost, execSize);
  const writer = new BpfRecordWriter(btf, asm, event, 0);
  writeHead(writer, task, struct, exitEventKind.exec);
  writer.setValue(8, exitEvent.argumentLength, 0);
  writer.through(task, struct, "mm", (mm) => {
    const none = asm.label();
    const short = asm.label();
    // R7 = how much there is, at most what fits; the source in R3.
    asm.load(8, 3, object, btf.member(mm, "arg_start").offset).load(8, 7, object, btf.member(mm, "arg_end").offset);
    asm.jumpIfRegister("le", 7, 3, none).compute("sub", 7, 3).jumpIf("le", 7, mostArguments, short);
    asm.computeValue("mov", 7, mostArguments).place(short);
    asm.compute("mov", 1, event).computeValue("add", 1, exitEvent.arguments).compute("mov", 2, 7);
    asm.call(bpfHelper.probeReadUser).jumpIf("ne", 0, 0, none);
    asm.store(4, event, exitEvent.argumentLength, 7).place(none);
  });
  submit(asm);
  return asm.assemble();
}

/**
 * tp_btf/sched_process_exit(struct task_struct *p, …): for the thread that leaves no other alive. Two threads that end
 * together can both find that, and so write two records.
 */
function exitProgram(btf: Btf, ring: number, lost: number): Buffer {
  const asm = new BpfAssembler();
  const struct = btf.get(btfKind.struct, "task_struct");
  const signal = btf.member(struct, "signal");
  const last = asm.label();
  asm.load(8, task, 1, 0).load(8, object, task, signal.offset);
  asm.load(4, 1, object, btf.member(btf.pointee(signal.type), "live.counter").offset);
  asm.jumpIf("eq", 1, 0, last).exit(0).place(last);
  reserve(asm, ring, lost, exitEvent.exitSize);
  asm.load(8, leader, task, btf.member(struct, "group_leader").offset);
  const writer = new BpfRecordWriter(btf, asm, event, 0);
  writeHead(writer, leader, struct, exitEventKind.exit);
  writeCounters(writer, leader, struct);
  writer.clear(exitEvent.last, exitEvent.exitSize);
  const main = asm.label();
  asm.load(4, 1, task, btf.member(struct, "pid").offset).load(4, 2, task, btf.member(struct, "tgid").offset);
  asm.jumpIfRegister("eq", 1, 2, main);
  taskCounters.forEach((member, i) => {
    writer.copy(task, struct, exitEvent.last + i * 8, 8, member);
  });
  asm.place(main);
  writeCircumstances(writer, struct);
  writeDelays(writer, struct);
  submit(asm);
  return asm.assemble();
}

/** tp_btf/sched_process_free(struct task_struct *p): for the group leader, which is freed last. */
function freeProgram(btf: Btf, ring: number, lost: number): Buffer {
  const asm = new BpfAssembler();
  const struct = btf.get(btfKind.struct, "task_struct");
  const leads = asm.label();
  asm.load(8, task, 1, 0);
  asm.load(4, 1, task, btf.member(struct, "pid").offset).load(4, 2, task, btf.member(struct, "tgid").offset);
  asm.jumpIfRegister("eq", 1, 2, leads).exit(0).place(leads);
  reserve(asm, ring, lost, exitEvent.freeSize);
  const writer = new BpfRecordWriter(btf, asm, event, 0);
  writeHead(writer, task, struct, exitEventKind.free);
  writeCounters(writer, task, struct);
  submit(asm);
  return asm.assemble();
}

function writeHead(writer: BpfRecordWriter, main: BpfRegister, struct: BtfId, kind: number): void {
  writer.setValue(4, exitEvent.kind, kind);
  writer.copy(main, struct, exitEvent.pid, 4, "tgid");
  writer.copy(main, struct, exitEvent.start, 8, "start_boottime", "real_start_time");
  writer.copyComm(main, struct, exitEvent.comm);
}

function writeCounters(writer: BpfRecordWriter, main: BpfRegister, struct: BtfId): void {
  taskCounters.forEach((member, i) => {
    writer.copy(main, struct, exitEvent.own + i * 8, 8, member);
  });
  writer.clear(exitEvent.group, exitEvent.freeSize);
  writer.through(main, struct, "signal", (signal) => {
    signalCounters.forEach((member, i) => {
      writer.copy(object, signal, exitEvent.group + i * 8, 8, member);
    });
  });
}

function writeCircumstances(writer: BpfRecordWriter, struct: BtfId): void {
  writer.copy(leader, struct, exitEvent.exitCode, 4, "exit_code");
  writer.copy(leader, struct, exitEvent.flags, 4, "flags");
  writer.through(leader, struct, "real_parent", (parent) => {
    writer.copy(object, parent, exitEvent.ppid, 4, "tgid");
  });
  writer.through(leader, struct, "real_cred", (cred) => {
    writer.copy(object, cred, exitEvent.uid, 4, "uid.val");
  });
  writer.through(leader, struct, "signal", (signal) => {
    writer.copy(object, signal, exitEvent.groupExitCode, 4, "group_exit_code");
    writer.copy(object, signal, exitEvent.signalFlags, 4, "flags");
    writer.copy(object, signal, exitEvent.peakPages, 8, "maxrss");
  });
}

/**
 * What the kernel was built without stays 0. The sums are taken from where taskstats_exit() put them just before, this
 * thread's included (kernel/taskstats.c, fill_tgid_exit).
 */
function writeDelays(writer: BpfRecordWriter, struct: BtfId): void {
  const { btf } = writer;
  writer.clear(exitEvent.delays, exitEvent.exitSize);
  const each = (type: BtfId, source: BpfRegister, from: "task" | "info" | "sum"): void => {
    delays.forEach((delay, i) => {
      const member = delay[from];
      if (member !== undefined && btf.findMember(type, member))
        writer.copy(source, type, exitEvent.delays + i * 8, 8, member);
    });
  };
  each(struct, task, "task");
  if (btf.findMember(struct, "delays")) writer.through(task, struct, "delays", (info) => each(info, object, "info"));
  writer.through(task, struct, "signal", (signal) => {
    if (!btf.findMember(signal, "stats")) return;
    writer.through(object, signal, "stats", (sums) => each(sums, object, "sum"));
  });
}

/** R9 = room for a record; where there is none, counts it as lost and ends. */
function reserve(asm: BpfAssembler, ring: number, lost: number, size: Bytes): void {
  const got = asm.label();
  const end = asm.label();
  asm.setMap(1, ring).computeValue("mov", 2, size).computeValue("mov", 3, 0).call(bpfHelper.ringbufReserve);
  asm.jumpIf("ne", 0, 0, got);
  asm.storeValue(4, 10, -4, 0).compute("mov", 2, 10).computeValue("add", 2, -4).setMap(1, lost);
  asm.call(bpfHelper.mapLookupElem).jumpIf("eq", 0, 0, end);
  asm.computeValue("mov", 1, 1).atomicAdd(0, 0, 1);
  asm.place(end).exit(0);
  asm.place(got).compute("mov", event, 0);
}

function submit(asm: BpfAssembler): void {
  asm.compute("mov", 1, event).computeValue("mov", 2, 0).call(bpfHelper.ringbufSubmit).exit(0);
}
