/**
 * The BPF program that writes one record for each task of the machine, and the layout of these records. The program is
 * assembled from the offsets of the kernel that runs; the records look the same on every kernel.
 *
 * A task that is no group leader gets the first {@link taskRecord.threadSize} bytes only.
 */
import type { BpfIterator } from "./bpf.ts";
import { BpfAssembler, type BpfRegister, type BpfWidth, bpfHelper } from "./bpf-assembler.ts";
import { BpfRecordWriter } from "./bpf-record.ts";
import { type Btf, type BtfId, btfKind } from "./btf.ts";

/** Offsets of a record's fields in bytes. Fields are u64 but where the comment says otherwise. */
export const taskRecord = {
  pid: 0, // u32: the thread's id
  tgid: 4, // u32: the process's id
  state: 8, // u32: __state, TASK_*
  exitState: 12, // u32: EXIT_DEAD 16, EXIT_ZOMBIE 32
  /** Time on a CPU in ns, exact. */
  runtime: 16,
  /** Sampled by the timer tick, in ns: only their ratio is of use beside `runtime`. */
  userTime: 24,
  systemTime: 32,
  voluntarySwitches: 40,
  involuntarySwitches: 48,
  minorFaults: 56,
  majorFaults: 64,
  readBytes: 72,
  writeBytes: 80,
  /** 16 bytes, ended by NUL. */
  comm: 88,
  /** After boot, in ns, on the clock that counts suspend. */
  start: 104,
  /** What procfs last told of the thread's times, in ns: it never goes below; 0 where this kernel does not keep it. */
  toldUserTime: 112,
  toldSystemTime: 120,
  threadSize: 128,

  // Group leaders only. "Dead" counters are those of the group's threads that ended already.
  parent: 128, // u32
  effectiveUid: 132, // u32
  threads: 136, // u32
  /** u32; 0xffffffff where the table is larger than the program counts through. */
  openFds: 140,
  deadRuntime: 144,
  deadUserTime: 152,
  deadSystemTime: 160,
  deadVoluntarySwitches: 168,
  deadInvoluntarySwitches: 176,
  deadMinorFaults: 184,
  deadMajorFaults: 192,
  deadReadBytes: 200,
  deadWriteBytes: 208,
  /** RLIMIT_NOFILE, soft; all ones is unlimited. */
  fdLimit: 216,
  totalPages: 224,
  // i64: approximate within a batch per CPU, and so below 0 at times, as in /proc/PID/stat.
  filePages: 232,
  anonymousPages: 240,
  swapPages: 248,
  sharedPages: 256,
  /** i64: the largest resident size seen at its updates; the present one may be larger. */
  peakPages: 264,
  /** Counts execve calls, inherited at fork. */
  execs: 272,
  flags: 280, // u32: PF_*
  /** u32: 1 where the task has an address space. */
  hasMemory: 284,
  /** As toldUserTime, of the whole process. */
  toldGroupUserTime: 288,
  toldGroupSystemTime: 296,
  processSize: 304,
} as const;

const rlimitNofile = 7;
/** A bitmap word holds 64 descriptors: 16,384 are counted in the kernel; the verifier walks every turn of the loop. */
const maxFdWords = 256;

// The stack, below the frame pointer R10: the record, then what the loop over descriptors needs.
const record = -taskRecord.processSize;
const slotFds = record - 8;
const slotWords = record - 16;
const slotCount = record - 24;
const slotWord = record - 32;

const task: BpfRegister = 6;
const seq: BpfRegister = 7;
const object: BpfRegister = 8;

/** Builds the program; its context is struct bpf_iter__task. Throws UNSUPPORTED_HERE where this kernel lacks a member. */
export function taskProgram(btf: Btf): ConstructorParameters<typeof BpfIterator>[0] {
  const context = btf.get(btfKind.struct, "bpf_iter__task");
  const meta = btf.get(btfKind.struct, "bpf_iter_meta");
  const asm = new BpfAssembler();
  const running = asm.label();
  asm.load(8, task, 1, btf.member(context, "task").offset);
  asm.load(8, seq, 1, btf.member(context, "meta").offset);
  asm.jumpIf("ne", task, 0, running).exit(0).place(running);
  asm.load(8, seq, seq, btf.member(meta, "seq").offset);
  new TaskProgramWriter(btf, asm).write();
  return { name: "procscope_task", code: asm.assemble(), attachTo: btf.get(btfKind.func, "bpf_iter_task") };
}

class TaskProgramWriter {
  readonly #btf: Btf;
  readonly #asm: BpfAssembler;
  readonly #writer: BpfRecordWriter;
  readonly #task: BtfId;

  constructor(btf: Btf, asm: BpfAssembler) {
    this.#btf = btf;
    this.#asm = asm;
    this.#writer = new BpfRecordWriter(btf, asm, 10, record);
    this.#task = btf.get(btfKind.struct, "task_struct");
  }

  write(): void {
    const asm = this.#asm;
    this.#writeTaskPart();
    const leader = asm.label();
    asm.load(4, 1, 10, record + taskRecord.pid).load(4, 2, 10, record + taskRecord.tgid);
    asm.jumpIfRegister("eq", 1, 2, leader);
    this.#emitRecord(taskRecord.threadSize);
    asm.place(leader);
    this.#writer.clear(taskRecord.threadSize, taskRecord.processSize);
    this.#writer.copy(task, this.#task, taskRecord.execs, 8, "self_exec_id");
    this.#writer.copy(task, this.#task, taskRecord.flags, 4, "flags");
    this.#writeRelatives();
    this.#writeSignalPart();
    this.#writeMemory();
    this.#countFds();
    this.#emitRecord(taskRecord.processSize);
  }

  #writeTaskPart(): void {
    const copy = (to: number, width: BpfWidth, ...paths: string[]): void =>
      this.#writer.copy(task, this.#task, to, width, ...paths);
    copy(taskRecord.pid, 4, "pid");
    copy(taskRecord.tgid, 4, "tgid");
    copy(taskRecord.state, 4, "__state", "state");
    copy(taskRecord.exitState, 4, "exit_state");
    copy(taskRecord.runtime, 8, "se.sum_exec_runtime");
    copy(taskRecord.userTime, 8, "utime");
    copy(taskRecord.systemTime, 8, "stime");
    copy(taskRecord.voluntarySwitches, 8, "nvcsw");
    copy(taskRecord.involuntarySwitches, 8, "nivcsw");
    copy(taskRecord.minorFaults, 8, "min_flt");
    copy(taskRecord.majorFaults, 8, "maj_flt");
    copy(taskRecord.readBytes, 8, "ioac.read_bytes");
    copy(taskRecord.writeBytes, 8, "ioac.write_bytes");
    copy(taskRecord.start, 8, "start_boottime", "real_start_time");
    this.#writer.copyComm(task, this.#task, taskRecord.comm);
    this.#writer.clear(taskRecord.toldUserTime, taskRecord.threadSize);
    this.#writeTold(task, this.#task, taskRecord.toldUserTime);
  }

  /** prev_cputime is not there on kernels that account CPU time natively (CONFIG_VIRT_CPU_ACCOUNTING_NATIVE). */
  #writeTold(source: BpfRegister, type: BtfId, to: number): void {
    if (!this.#btf.findMember(type, "prev_cputime")) return;
    this.#writer.copy(source, type, to, 8, "prev_cputime.utime");
    this.#writer.copy(source, type, to + 8, 8, "prev_cputime.stime");
  }

  #writeRelatives(): void {
    const writer = this.#writer;
    writer.through(task, this.#task, "real_parent", (parent) => {
      writer.copy(object, parent, taskRecord.parent, 4, "tgid");
    });
    writer.through(task, this.#task, "real_cred", (cred) => {
      writer.copy(object, cred, taskRecord.effectiveUid, 4, "euid.val");
    });
  }

  #writeSignalPart(): void {
    const writer = this.#writer;
    writer.through(task, this.#task, "signal", (signal) => {
      const copy = (to: number, width: BpfWidth, path: string): void => writer.copy(object, signal, to, width, path);
      copy(taskRecord.threads, 4, "nr_threads");
      copy(taskRecord.deadRuntime, 8, "sum_sched_runtime");
      copy(taskRecord.deadUserTime, 8, "utime");
      copy(taskRecord.deadSystemTime, 8, "stime");
      copy(taskRecord.deadVoluntarySwitches, 8, "nvcsw");
      copy(taskRecord.deadInvoluntarySwitches, 8, "nivcsw");
      copy(taskRecord.deadMinorFaults, 8, "min_flt");
      copy(taskRecord.deadMajorFaults, 8, "maj_flt");
      copy(taskRecord.deadReadBytes, 8, "ioac.read_bytes");
      copy(taskRecord.deadWriteBytes, 8, "ioac.write_bytes");
      this.#writeTold(object, signal, taskRecord.toldGroupUserTime);
      const limits = this.#btf.member(signal, "rlim").offset;
      writer.copyAt(object, limits + rlimitNofile * 16, 8, taskRecord.fdLimit, 8);
    });
  }

  #writeMemory(): void {
    const writer = this.#writer;
    writer.through(task, this.#task, "mm", (mm) => {
      writer.setValue(4, taskRecord.hasMemory, 1);
      writer.copy(object, mm, taskRecord.totalPages, 8, "total_vm");
      writer.copy(object, mm, taskRecord.peakPages, 8, "hiwater_rss");
      // enum: MM_FILEPAGES 0, MM_ANONPAGES 1, MM_SWAPENTS 2, MM_SHMEMPAGES 3 (include/linux/mm_types_task.h)
      const targets = [taskRecord.filePages, taskRecord.anonymousPages, taskRecord.swapPages, taskRecord.sharedPages];
      targets.forEach((target, i) => {
        writer.copyAt(object, this.#rssOffset(mm, i), 8, target, 8);
      });
    });
  }

  /** rss_stat is an array of percpu_counter since Linux 6.2, before a structure around an array of atomics. */
  #rssOffset(mm: BtfId, counter: number): number {
    const rss = this.#btf.member(mm, "rss_stat");
    const element = this.#btf.element(rss.type);
    if (element === undefined) return this.#btf.member(mm, "rss_stat.count").offset + counter * 8;
    return rss.offset + counter * this.#btf.size(element) + this.#btf.member(element, "count").offset;
  }

  /** Counts the bits of files->fdt->open_fds, as the kernel does for the size of /proc/PID/fd. */
  #countFds(): void {
    const asm = this.#asm;
    this.#writer.through(task, this.#task, "files", (files) => {
      const fdt = this.#btf.member(files, "fdt");
      const fdtType = this.#btf.pointee(fdt.type);
      const none = asm.label();
      asm.storeValue(8, 10, slotCount, 0xffffffff | 0);
      asm.load(8, object, object, fdt.offset).jumpIf("eq", object, 0, none);
      asm.load(8, 1, object, this.#btf.member(fdtType, "open_fds").offset).store(8, 10, slotFds, 1);
      asm.load(4, 1, object, this.#btf.member(fdtType, "max_fds").offset).computeValue("shr", 1, 6);
      asm
        .storeValue(8, 10, slotCount, 0xffffffff | 0)
        .jumpIf("gt", 1, maxFdWords, none)
        .store(8, 10, slotWords, 1);
      this.#countWords();
      asm.place(none);
      asm.load(8, 1, 10, slotCount).store(4, 10, record + taskRecord.openFds, 1);
    });
  }

  #countWords(): void {
    const asm = this.#asm;
    const index: BpfRegister = 9;
    const next = asm.label();
    const end = asm.label();
    asm.storeValue(8, 10, slotCount, 0).computeValue("mov", index, 0);
    asm.place(next).jumpIf("ge", index, maxFdWords, end);
    asm.load(8, 1, 10, slotWords).jumpIfRegister("ge", index, 1, end);
    asm.compute("mov", 3, index).computeValue("shl", 3, 3).load(8, 1, 10, slotFds).compute("add", 3, 1);
    asm.compute("mov", 1, 10).computeValue("add", 1, slotWord).computeValue("mov", 2, 8);
    asm.call(bpfHelper.probeReadKernel).jumpIf("ne", 0, 0, end);
    asm.load(8, 1, 10, slotWord);
    this.#countBits();
    asm.load(8, 2, 10, slotCount).compute("add", 2, 1).store(8, 10, slotCount, 2);
    asm.computeValue("add", index, 1).jump(next).place(end);
  }

  /** R1 = how many bits of R1 are set: sums in pairs, nibbles, bytes, then all bytes by one multiplication. */
  #countBits(): void {
    const asm = this.#asm;
    asm.setWide(2, 0x5555555555555555n).compute("mov", 3, 1).computeValue("shr", 3, 1).compute("and", 3, 2);
    asm.compute("sub", 1, 3);
    asm.setWide(2, 0x3333333333333333n).compute("mov", 3, 1).compute("and", 3, 2);
    asm.computeValue("shr", 1, 2).compute("and", 1, 2).compute("add", 1, 3);
    asm.setWide(2, 0x0f0f0f0f0f0f0f0fn).compute("mov", 3, 1).computeValue("shr", 3, 4).compute("add", 1, 3);
    asm.compute("and", 1, 2);
    asm.setWide(2, 0x0101010101010101n).compute("mul", 1, 2).computeValue("shr", 1, 56);
  }

  /** bpf_seq_write(seq, record, size), then the end. A full buffer makes the kernel run the program again for the task. */
  #emitRecord(size: number): void {
    const asm = this.#asm;
    asm.compute("mov", 1, seq).compute("mov", 2, 10).computeValue("add", 2, record).computeValue("mov", 3, size);
    asm.call(bpfHelper.seqWrite).exit(0);
  }
}
