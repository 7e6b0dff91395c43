/** What is known of one group: numbers in arrays, so that a scan adds to them without making objects. */

/** Index of each counter in {@link Group.counters}. Counters never decrease. */
export const Counter = {
  /** Nanoseconds. */
  cpuUser: 0,
  cpuSystem: 1,
  readBytes: 2,
  writeBytes: 3,
  minorFaults: 4,
  majorFaults: 5,
  voluntarySwitches: 6,
  nonvoluntarySwitches: 7,
  /** Processes that joined the group after the first scan. */
  started: 8,
  exited: 9,
  /** Nanoseconds that exited processes had waited, as their exit records tell. */
  delayCpu: 10,
  delayBlockIo: 11,
  delaySwap: 12,
  /** CPU nanoseconds that only exit records showed: used after the last scan of a process, or by one never seen. */
  cpuFromExits: 13,
} as const;
export const counterCount = 14;

/** How many of the counters are those of a process; they come first. */
export const processCounterCount = 8;

/** Index of each gauge in {@link Group.gauges}: values of the last scan. */
export const Gauge = {
  procs: 0,
  residentBytes: 1,
  virtualBytes: 2,
  swapBytes: 3,
  openFiles: 4,
  /** The largest ratio of open files to the limit. */
  worstFileRatio: 5,
  /** Smallest start in ticks after boot; Infinity without processes. */
  oldestStart: 6,
  threads: 7,
  running: 8,
  sleeping: 9,
  waiting: 10,
  zombie: 11,
  other: 12,
  proportionalResident: 13,
  proportionalSwapped: 14,
} as const;
export const gaugeCount = 15;

/** Index of each counter in {@link ThreadGroup.counters}: those of a process, in the same order. */
export interface ThreadGroup {
  readonly name: string;
  readonly counters: Float64Array;
  /** Threads of this name in the last scan. */
  count: number;
}

/** The name of what stands for all that has no place of its own. */
export const otherName = "other";

export class Group {
  readonly name: string;
  /** Labels beyond the group's name, opt-in. */
  readonly labels: Readonly<Record<string, string>>;
  readonly counters = new Float64Array(counterCount);
  readonly gauges = new Float64Array(gaugeCount);
  /** Threads waiting in each kernel function in the last scan, by ProcessTable.names index. */
  readonly wchans = new Map<number, number>();
  readonly threads = new Map<string, ThreadGroup>();
  /** How its processes ended: exit code or, negative, the signal's number, with how often. */
  readonly exits = new Map<number, number>();
  /** The largest resident size that any process of it was seen with. */
  peakBytes = 0;
  /** Index in ColumnGrouper.groups. */
  index = 0;
  /** Number of the last scan in which it had a process. */
  lastPopulated = 0;
  /** When it became empty, in milliseconds of a monotonic clock; undefined while it has processes. */
  emptySince: number | undefined;
  /** Kept because the configuration names it: has rows without ever having had a process. */
  readonly fixed: boolean;

  constructor(name: string, labels: Readonly<Record<string, string>>, fixed: boolean) {
    this.name = name;
    this.labels = labels;
    this.fixed = fixed;
  }

  /** Sets what the next scan adds up to nothing. */
  resetGauges(): void {
    this.gauges.fill(0);
    this.gauges[Gauge.oldestStart] = Number.POSITIVE_INFINITY;
    if (this.wchans.size > 0) this.wchans.clear();
    for (const thread of this.threads.values()) thread.count = 0;
  }

  /** The threads of a name, or past `most` names those of "other". */
  thread(name: string, most: number): ThreadGroup {
    let thread = this.threads.get(name);
    if (thread) return thread;
    if (this.threads.size >= most && name !== otherName) return this.thread(otherName, most);
    thread = { name, counters: new Float64Array(processCounterCount), count: 0 };
    this.threads.set(name, thread);
    return thread;
  }
}

/** The key of a group: its name and labels. */
export function groupKey(name: string, labels: Readonly<Record<string, string>>): string {
  let key = name;
  for (const label in labels) key += `\0${label}\0${labels[label]}`;
  return key;
}
