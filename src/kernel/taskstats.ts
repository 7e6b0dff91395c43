/**
 * Taskstats (Documentation/accounting/taskstats.rst): the kernel sends what a thread used when the thread ends, for all
 * threads of the machine, so that nothing that lives between two looks is missed.
 */
import { readFileSync } from "node:fs";
import { ProcscopeError } from "../base/errors.ts";
import type { Bytes, Nanoseconds, Pid, Tid } from "../base/units.ts";
import { forEachAttribute, GenericNetlink, type NetlinkMessage } from "./netlink.ts";

const commandGet = 1;
const attrPid = 1;
const attrRegisterCpumask = 3;
const typeStats = 3;
const typeAggregatePid = 4;

/** Since Linux 5.18 a record says which process its thread belongs to; without it threads cannot be told from processes. */
const oldestVersion = 12;

/** Offsets in struct taskstats (include/uapi/linux/taskstats.h); the same in every version but 15, which is refused. */
const offset = {
  version: 0,
  exitCode: 4,
  flags: 8,
  cpuDelay: 24,
  blockIoDelay: 40,
  swapDelay: 56,
  comm: 80,
  uid: 120,
  pid: 128,
  ppid: 132,
  elapsed: 144,
  userTime: 152,
  systemTime: 160,
  minorFaults: 168,
  majorFaults: 176,
  peakResident: 200,
  readBytes: 248,
  writeBytes: 256,
  voluntarySwitches: 272,
  involuntarySwitches: 280,
  startTime: 344,
  tgid: 368,
  groupElapsed: 376,
  end: 400,
} as const;

/** ac_flag bits (include/uapi/linux/acct.h). */
const flagForked = 0x01;
const flagGroupEnded = 0x20;

/** What one thread used. Reused from record to record: copy what is to be kept. */
export interface TaskExit {
  tid: Tid;
  pid: Pid;
  ppid: Pid;
  uid: number;
  comm: string;
  /** Whether this was the process's last thread. */
  groupEnded: boolean;
  /** Whether the thread was forked and made no execve; true for threads of pthread_create as well. */
  forkedOnly: boolean;
  /** As wait(2) gives it: the code in the high byte, the signal in the low seven bits. */
  waitStatus: number;
  userTime: Nanoseconds;
  systemTime: Nanoseconds;
  readBytes: Bytes;
  writeBytes: Bytes;
  minorFaults: number;
  majorFaults: number;
  voluntarySwitches: number;
  involuntarySwitches: number;
  /** Of the process so far. */
  peakResident: Bytes;
  /** When the process started, in seconds since 1970, to about a second. */
  processStart: number;
  cpuDelay: Nanoseconds;
  blockIoDelay: Nanoseconds;
  swapDelay: Nanoseconds;
}

export class TaskstatsListener {
  readonly #netlink: GenericNetlink;
  readonly #family: number;
  #drops = 0;
  #overruns = 0;
  #malformed = 0;
  readonly #exit: TaskExit = newTaskExit();

  /**
   * Subscribes to the ends of all threads on all CPUs, after checking on our own process that the records are laid out as
   * expected. Throws PERMISSION without CAP_NET_ADMIN, UNSUPPORTED_HERE in a namespace or where the kernel is too old.
   */
  constructor(queueBytes: number) {
    this.#netlink = new GenericNetlink(queueBytes);
    try {
      this.#family = this.#netlink.family("TASKSTATS");
      this.#checkOnSelf();
      this.#subscribe();
    } catch (error) {
      this.#netlink.close();
      throw error;
    }
  }

  /** Records that were lost: dropped by the kernel because we read too late, or not understood. Never decreases. */
  get lost(): number {
    return this.#drops + this.#malformed;
  }

  /** Hands over what ended since the last call, in order, without blocking. */
  drain(visit: (exit: TaskExit) => void): void {
    this.#netlink.receive((message) => this.#visitMessage(message, visit));
    if (this.#netlink.overruns === this.#overruns) return;
    this.#overruns = this.#netlink.overruns;
    // An overrun is told once for any number of records; the socket's own counter knows how many. At least one.
    this.#drops = Math.max(this.#drops + 1, this.#netlink.drops());
  }

  close(): void {
    this.#netlink.close();
  }

  #checkOnSelf(): void {
    const pid = Buffer.alloc(4);
    pid.writeUInt32LE(process.pid);
    const answer = this.#netlink.request(this.#family, commandGet, attrPid, pid, false);
    if (typeof answer === "string") throw subscribeError(answer);
    let right = false;
    let said = "no record came";
    if (answer) {
      this.#forEachStats(answer, (data, at, length) => {
        const version = length >= 2 ? data.readUInt16LE(at) : 0;
        said = `version ${version} of ${length} bytes`;
        if (version < oldestVersion || length < offset.end) return;
        const exit = readExit(data, at, this.#exit);
        right =
          exit.tid === process.pid && exit.pid === process.pid && exit.ppid === process.ppid && exit.comm === ownComm();
      });
    }
    if (right) return;
    throw new ProcscopeError("UNSUPPORTED_HERE", `this kernel's taskstats records are not understood: ${said}`, {
      hint: "needs Linux 5.18 or newer (but not 6.14 and 6.15, whose version 15 moved fields); BPF does not need them",
    });
  }

  #subscribe(): void {
    const possible = readFileSync("/sys/devices/system/cpu/possible", "latin1").trim();
    const answer = this.#netlink.request(
      this.#family,
      commandGet,
      attrRegisterCpumask,
      Buffer.from(`${possible}\0`),
      true,
    );
    if (typeof answer === "string") throw subscribeError(answer);
  }

  #visitMessage(message: NetlinkMessage, visit: (exit: TaskExit) => void): void {
    if (message.type !== this.#family) return;
    this.#forEachStats(message, (data, at, length) => {
      if (length < offset.end) this.#malformed++;
      else visit(readExit(data, at, this.#exit));
    });
  }

  /** The per-thread records of a message; the per-process one, which only holds delays, is passed over. */
  #forEachStats(message: NetlinkMessage, visit: (data: Buffer, at: number, length: number) => void): void {
    const { data } = message;
    forEachAttribute(data, message.start, message.end, (type, at, length) => {
      if (type !== typeAggregatePid) return;
      forEachAttribute(data, at, at + length, (inner, place, size) => {
        if (inner === typeStats) visit(data, place, size);
      });
    });
  }
}

function readExit(data: Buffer, at: number, into: TaskExit): TaskExit {
  const wide = (place: number): number =>
    data.readUInt32LE(at + place) + data.readUInt32LE(at + place + 4) * 4294967296;
  const flags = data[at + offset.flags]!;
  into.tid = data.readUInt32LE(at + offset.pid);
  into.pid = data.readUInt32LE(at + offset.tgid);
  into.ppid = data.readUInt32LE(at + offset.ppid);
  into.uid = data.readUInt32LE(at + offset.uid);
  into.comm = shortText(data, at + offset.comm, 16);
  into.groupEnded = (flags & flagGroupEnded) !== 0;
  into.forkedOnly = (flags & flagForked) !== 0;
  into.waitStatus = data.readUInt32LE(at + offset.exitCode);
  into.userTime = wide(offset.userTime) * 1000;
  into.systemTime = wide(offset.systemTime) * 1000;
  into.readBytes = wide(offset.readBytes);
  into.writeBytes = wide(offset.writeBytes);
  into.minorFaults = wide(offset.minorFaults);
  into.majorFaults = wide(offset.majorFaults);
  into.voluntarySwitches = wide(offset.voluntarySwitches);
  into.involuntarySwitches = wide(offset.involuntarySwitches);
  into.peakResident = wide(offset.peakResident) * 1024;
  into.processStart = wide(offset.startTime) + (wide(offset.elapsed) - wide(offset.groupElapsed)) / 1e6;
  into.cpuDelay = wide(offset.cpuDelay);
  into.blockIoDelay = wide(offset.blockIoDelay);
  into.swapDelay = wide(offset.swapDelay);
  return into;
}

function shortText(data: Buffer, at: number, length: number): string {
  let end = at;
  while (end < at + length && data[end] !== 0) end++;
  return data.toString("utf8", at, end);
}

function ownComm(): string {
  return readFileSync("/proc/self/comm", "utf8").replace(/\n$/, "");
}

function newTaskExit(): TaskExit {
  return {
    tid: 0,
    pid: 0,
    ppid: 0,
    uid: 0,
    comm: "",
    groupEnded: false,
    forkedOnly: false,
    waitStatus: 0,
    userTime: 0,
    systemTime: 0,
    readBytes: 0,
    writeBytes: 0,
    minorFaults: 0,
    majorFaults: 0,
    voluntarySwitches: 0,
    involuntarySwitches: 0,
    peakResident: 0,
    processStart: 0,
    cpuDelay: 0,
    blockIoDelay: 0,
    swapDelay: 0,
  };
}

function subscribeError(errno: string): ProcscopeError {
  if (errno === "EPERM" || errno === "EACCES") {
    return new ProcscopeError("PERMISSION", `exit records (taskstats) are not allowed (${errno})`, {
      hint: "needs CAP_NET_ADMIN: run as root, or setpriv --inh-caps=+net_admin --ambient-caps=+net_admin",
    });
  }
  if (errno === "EINVAL") {
    return new ProcscopeError(
      "UNSUPPORTED_HERE",
      "exit records (taskstats) are not given inside a pid or user namespace",
      {
        hint: "run in the host's pid namespace (docker --pid=host, Kubernetes hostPID: true)",
      },
    );
  }
  return new ProcscopeError("UNSUPPORTED_HERE", `subscribing to exit records (taskstats): ${errno}`, {
    hint: "needs CONFIG_TASKSTATS, CONFIG_TASK_XACCT and CONFIG_TASK_IO_ACCOUNTING",
  });
}
