/** Every series of a group: those of process-exporter v0.8.7 under their names, and procscope's own. */
import type { Group, ThreadGroup } from "../proc/group.ts";
import { Counter, Gauge } from "../proc/group.ts";
import type { ExitDelays, ExitSource } from "../proc/sources/source.ts";
import { type ExpositionWriter, type Metric, metric } from "./exposition.ts";
import { GroupLabels } from "./group-labels.ts";

const group = (name: string, type: "counter" | "gauge", help: string): Metric =>
  metric(`namedprocess_namegroup_${name}`, type, help);
const own = (name: string, type: "counter" | "gauge", help: string): Metric =>
  metric(`procscope_namegroup_${name}`, type, help);

const m = {
  procs: group("num_procs", "gauge", "number of processes in this group"),
  cpu: group("cpu_seconds_total", "counter", "Cpu user usage in seconds"),
  read: group("read_bytes_total", "counter", "number of bytes read by this group"),
  write: group("write_bytes_total", "counter", "number of bytes written by this group"),
  majorFaults: group("major_page_faults_total", "counter", "Major page faults"),
  minorFaults: group("minor_page_faults_total", "counter", "Minor page faults"),
  switches: group("context_switches_total", "counter", "Context switches"),
  memory: group("memory_bytes", "gauge", "number of bytes of memory in use"),
  files: group("open_filedesc", "gauge", "number of open file descriptors for this group"),
  worstRatio: group(
    "worst_fd_ratio",
    "gauge",
    "the worst (closest to 1) ratio between open fds and max fds among all procs in this group",
  ),
  oldestStart: group(
    "oldest_start_time_seconds",
    "gauge",
    "start time in seconds since 1970/01/01 of oldest process in group",
  ),
  threads: group("num_threads", "gauge", "Number of threads"),
  states: group("states", "gauge", "Number of processes in states Running, Sleeping, Waiting, Zombie, or Other"),
  wchan: group("threads_wchan", "gauge", "Number of threads in this group waiting on each wchan"),
  threadCount: group("thread_count", "gauge", "Number of threads in this group with same threadname"),
  threadCpu: group("thread_cpu_seconds_total", "counter", "Cpu user/system usage in seconds"),
  threadIo: group("thread_io_bytes_total", "counter", "number of bytes read/written by these threads"),
  threadMajor: group("thread_major_page_faults_total", "counter", "Major page faults for these threads"),
  threadMinor: group("thread_minor_page_faults_total", "counter", "Minor page faults for these threads"),
  threadSwitches: group("thread_context_switches_total", "counter", "Context switches for these threads"),
  started: own("started_processes_total", "counter", "Processes that joined this group after the exporter started"),
  exited: own("exited_processes_total", "counter", "Processes of this group that ended"),
  exits: own("process_exits_total", "counter", "Processes of this group that ended, by exit code and signal"),
  exitCpu: own(
    "exit_cpu_seconds_total",
    "counter",
    "CPU time known only from exit records: of processes too short-lived for a scrape to see, and of the last moments of others. Included in namedprocess_namegroup_cpu_seconds_total",
  ),
  delays: own(
    "exit_delay_seconds_total",
    "counter",
    "Time that processes which ended had waited for a CPU, for block IO and for pages to be swapped in",
  ),
  peak: own("peak_resident_bytes", "gauge", "Largest resident size seen of a single process of this group"),
  uptime: own("oldest_uptime_seconds", "gauge", "Age of the oldest process of this group"),
};

const delayCounters: Readonly<Record<keyof ExitDelays, number>> = {
  cpu: Counter.delayCpu,
  blockIo: Counter.delayBlockIo,
  swap: Counter.delaySwap,
};

export interface RenderContext {
  readonly bootTime: number;
  /** Seconds since 1970. */
  readonly now: number;
  readonly threads: boolean;
  readonly proportional: boolean;
  /** Where exit records come from: without, there is nothing to say about codes, signals and delays. */
  readonly exits: Pick<ExitSource, "delayKinds"> | undefined;
  /** Names of kernel functions by number. */
  readonly wchanNames: readonly string[];
}

export class GroupRenderer {
  private readonly labels = new WeakMap<Group, GroupLabels>();

  /** The label sets of a group, made at its first sample. */
  labelsOf(group: Group): GroupLabels {
    let labels = this.labels.get(group);
    if (!labels) {
      labels = new GroupLabels(group.name, group.labels);
      this.labels.set(group, labels);
    }
    return labels;
  }

  render(writer: ExpositionWriter, groups: readonly Group[], context: RenderContext): void {
    const rows = groups.map((group) => ({ group, labels: this.labelsOf(group) }));
    renderCounters(writer, rows);
    renderGauges(writer, rows, context);
    renderStates(writer, rows, context);
    if (context.threads) renderThreads(writer, rows);
    renderOwn(writer, rows, context);
  }
}

interface Row {
  readonly group: Group;
  readonly labels: GroupLabels;
}

const nanosecondsPerSecond = 1e9;

function renderCounters(writer: ExpositionWriter, rows: readonly Row[]): void {
  writer.family(m.cpu);
  for (const { group, labels } of rows) {
    writer.sample(labels.modes[0]!, group.counters[Counter.cpuUser]! / nanosecondsPerSecond);
    writer.sample(labels.modes[1]!, group.counters[Counter.cpuSystem]! / nanosecondsPerSecond);
  }
  simpleCounter(writer, rows, m.read, Counter.readBytes);
  simpleCounter(writer, rows, m.write, Counter.writeBytes);
  simpleCounter(writer, rows, m.majorFaults, Counter.majorFaults);
  simpleCounter(writer, rows, m.minorFaults, Counter.minorFaults);
  writer.family(m.switches);
  for (const { group, labels } of rows) {
    writer.sample(labels.switches[0]!, group.counters[Counter.voluntarySwitches]!);
    writer.sample(labels.switches[1]!, group.counters[Counter.nonvoluntarySwitches]!);
  }
}

function simpleCounter(writer: ExpositionWriter, rows: readonly Row[], family: Metric, counter: number): void {
  writer.family(family);
  for (const { group, labels } of rows) writer.sample(labels.base, group.counters[counter]!);
}

function simpleGauge(writer: ExpositionWriter, rows: readonly Row[], family: Metric, gauge: number): void {
  writer.family(family);
  for (const { group, labels } of rows) writer.sample(labels.base, group.gauges[gauge]!);
}

function renderGauges(writer: ExpositionWriter, rows: readonly Row[], context: RenderContext): void {
  simpleGauge(writer, rows, m.procs, Gauge.procs);
  writer.family(m.memory);
  for (const { group, labels } of rows) {
    writer.sample(labels.memory[0]!, group.gauges[Gauge.residentBytes]!);
    writer.sample(labels.memory[1]!, group.gauges[Gauge.virtualBytes]!);
    writer.sample(labels.memory[2]!, group.gauges[Gauge.swapBytes]!);
    if (!context.proportional) continue;
    writer.sample(labels.memory[3]!, group.gauges[Gauge.proportionalResident]!);
    writer.sample(labels.memory[4]!, group.gauges[Gauge.proportionalSwapped]!);
  }
  simpleGauge(writer, rows, m.files, Gauge.openFiles);
  simpleGauge(writer, rows, m.worstRatio, Gauge.worstFileRatio);
  simpleGauge(writer, rows, m.threads, Gauge.threads);
  writer.family(m.oldestStart);
  for (const { group, labels } of rows) {
    // A group without processes has no oldest one.
    const start = group.gauges[Gauge.oldestStart]!;
    if (start !== Number.POSITIVE_INFINITY) writer.sample(labels.base, Math.floor(context.bootTime + start / 100));
  }
}

function renderStates(writer: ExpositionWriter, rows: readonly Row[], context: RenderContext): void {
  writer.family(m.states);
  for (const { group, labels } of rows) {
    for (let i = 0; i < 5; i++) writer.sample(labels.states[i]!, group.gauges[Gauge.running + i]!);
  }
  writer.family(m.wchan);
  for (const { group, labels } of rows) {
    for (const [number, count] of group.wchans) {
      const wchan = context.wchanNames[number] ?? "";
      writer.sample(
        labels.with(`wchan ${number}`, () => ({ wchan })),
        count,
      );
    }
  }
}

function renderThreads(writer: ExpositionWriter, rows: readonly Row[]): void {
  const threads: { counters: Float64Array; count: number; labels: ReturnType<GroupLabels["thread"]> }[] = [];
  for (const { group, labels } of rows) {
    for (const thread of group.threads.values() as Iterable<ThreadGroup>) {
      // Counters of a name that no thread has now are kept for when it returns.
      if (thread.count === 0) continue;
      threads.push({ counters: thread.counters, count: thread.count, labels: labels.thread(thread.name) });
    }
  }
  writer.family(m.threadCount);
  for (const thread of threads) writer.sample(thread.labels.base, thread.count);
  writer.family(m.threadCpu);
  for (const { counters, labels } of threads) {
    writer.sample(labels.modes[0]!, counters[Counter.cpuUser]! / nanosecondsPerSecond);
    writer.sample(labels.modes[1]!, counters[Counter.cpuSystem]! / nanosecondsPerSecond);
  }
  writer.family(m.threadIo);
  for (const { counters, labels } of threads) {
    writer.sample(labels.ioModes[0]!, counters[Counter.readBytes]!);
    writer.sample(labels.ioModes[1]!, counters[Counter.writeBytes]!);
  }
  writer.family(m.threadMajor);
  for (const { counters, labels } of threads) writer.sample(labels.base, counters[Counter.majorFaults]!);
  writer.family(m.threadMinor);
  for (const { counters, labels } of threads) writer.sample(labels.base, counters[Counter.minorFaults]!);
  writer.family(m.threadSwitches);
  for (const { counters, labels } of threads) {
    writer.sample(labels.switches[0]!, counters[Counter.voluntarySwitches]!);
    writer.sample(labels.switches[1]!, counters[Counter.nonvoluntarySwitches]!);
  }
}

function renderOwn(writer: ExpositionWriter, rows: readonly Row[], context: RenderContext): void {
  simpleCounter(writer, rows, m.started, Counter.started);
  simpleCounter(writer, rows, m.exited, Counter.exited);
  writer.family(m.peak);
  for (const { group, labels } of rows) writer.sample(labels.base, group.peakBytes);
  writer.family(m.uptime);
  for (const { group, labels } of rows) {
    const start = group.gauges[Gauge.oldestStart]!;
    if (start === Number.POSITIVE_INFINITY) continue;
    writer.sample(labels.base, Math.max(0, Math.round((context.now - context.bootTime - start / 100) * 1000) / 1000));
  }
  if (!context.exits) return;
  writer.family(m.exits);
  for (const { group, labels } of rows) {
    for (const [how, count] of group.exits) {
      const set = labels.with(`exit ${how}`, () =>
        how < 0 ? { code: "", signal: String(-how) } : { code: String(how), signal: "" },
      );
      writer.sample(set, count);
    }
  }
  writer.family(m.exitCpu);
  for (const { group, labels } of rows) {
    writer.sample(labels.base, group.counters[Counter.cpuFromExits]! / nanosecondsPerSecond);
  }
  writer.family(m.delays);
  for (const { group, labels } of rows) {
    for (const kind of context.exits.delayKinds) {
      writer.sample(labels.delays[kind], group.counters[delayCounters[kind]]! / nanosecondsPerSecond);
    }
  }
}
