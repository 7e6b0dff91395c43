/**
 * Reads Go processes for the exporter: attaches once to each, then reads its list of goroutines when asked, never for
 * longer than it may. What a process costs is known from the last time: one whose goroutines take long to read is read
 * so seldom that it takes a twentieth of the time at most, and is given its last values meanwhile.
 */
import { performance } from "node:perf_hooks";
import { ProcscopeError } from "../base/errors.ts";
import type { Pid } from "../base/units.ts";
import { GoroutineReader } from "../go/goroutine-reader.ts";
import { GoroutineTable, goroutineStatus } from "../go/goroutine-table.ts";
import { type MemStats, MemStatsReader } from "../go/mem-stats.ts";
import { GoProcess } from "../go/process.ts";
import { isGoProgram } from "../go/process-list.ts";
import { goThreads } from "../go/threads.ts";
import { defaultProcMount } from "../kernel/proc-file.ts";
import type { GoFacts, GoInsideProvider, GoLevel, GoProcessRef } from "./go-inside.ts";

/** Reading may take one part in so many of the time. */
const costShare = 20;
/** Milliseconds after which a process that could not be read is tried again. */
const retryAfter = 60_000;
/** Goroutines loaded at a time. */
const batch = 4096;
/** Processes attached to at once: each holds some 100 KB. */
const mostAttached = 2048;

interface Entry {
  /** undefined: no Go program, or one that cannot be read. */
  process: GoProcess | undefined;
  reader: GoroutineReader | undefined;
  /** Made at the first full reading; null where this program's statistics cannot be found. */
  memory: MemStatsReader | null | undefined;
  facts: GoFacts | undefined;
  /** On performance.now()'s clock. */
  nextAt: number;
  /** Number of the round that saw the process last. */
  round: number;
}

export class GoReader implements GoInsideProvider {
  private readonly entries = new Map<string, Entry>();
  private round = 0;
  private attached = 0;

  async read(
    processes: readonly GoProcessRef[],
    level: Exclude<GoLevel, "off">,
    budget: number,
  ): Promise<ReadonlyMap<Pid, GoFacts>> {
    const end = performance.now() + budget;
    const facts = new Map<Pid, GoFacts>();
    this.round++;
    for (const { pid, startTicks, execMark } of processes) {
      const entry = this.entryOf(`${pid}:${startTicks}:${execMark}`);
      entry.round = this.round;
      const now = performance.now();
      if (now >= entry.nextAt && now < end) this.refresh(pid, entry, level);
      if (entry.facts) facts.set(pid, entry.facts);
    }
    this.forgetOthers();
    return facts;
  }

  close(): void {
    for (const entry of this.entries.values()) this.detach(entry);
    this.entries.clear();
  }

  private entryOf(key: string): Entry {
    let entry = this.entries.get(key);
    if (!entry) {
      entry = { process: undefined, reader: undefined, memory: undefined, facts: undefined, nextAt: 0, round: 0 };
      this.entries.set(key, entry);
    }
    return entry;
  }

  private refresh(pid: Pid, entry: Entry, level: Exclude<GoLevel, "off">): void {
    const begin = performance.now();
    try {
      if (!entry.process && !this.attach(pid, entry)) return;
      entry.facts = this.factsOf(entry, entry.process!, entry.reader!, level);
      entry.nextAt = performance.now() + (performance.now() - begin) * costShare;
    } catch (error) {
      if (!(error instanceof ProcscopeError)) throw error;
      // It may have become another program by exec, or the rights may come.
      this.detach(entry);
      entry.nextAt = performance.now() + retryAfter;
    }
  }

  /** False where the process is no Go program: it is not looked at again until it could have become one. */
  private attach(pid: Pid, entry: Entry): boolean {
    if (this.attached >= mostAttached || isGoProgram(`${defaultProcMount}/${pid}/exe`) !== true) {
      entry.nextAt = performance.now() + retryAfter;
      return false;
    }
    const process = GoProcess.attach(pid);
    entry.process = process;
    this.attached++;
    entry.reader = new GoroutineReader(process.runtime);
    // Megabytes for each process, of which nothing is needed but where a new goroutine started.
    for (const { pclntab } of process.runtime.modules) pclntab.release(process.runtime.memory);
    return true;
  }

  private factsOf(entry: Entry, process: GoProcess, reader: GoroutineReader, level: Exclude<GoLevel, "off">): GoFacts {
    const byState = countByState(reader);
    let goroutines = 0;
    for (const count of byState.values()) goroutines += count;
    const threads = goThreads(process.runtime).size;
    return {
      version: process.info.version.text,
      goroutines,
      byState,
      threads: threads > 0 ? threads : undefined,
      ...(level === "full" ? memoryFacts(entry, process) : { values: new Map(), pauses: [] }),
    };
  }

  private detach(entry: Entry): void {
    if (entry.process) {
      entry.process[Symbol.dispose]();
      this.attached--;
    }
    entry.process = undefined;
    entry.reader = undefined;
    entry.memory = undefined;
    entry.facts = undefined;
  }

  private forgetOthers(): void {
    for (const [key, entry] of this.entries) {
      if (entry.round === this.round) continue;
      this.detach(entry);
      this.entries.delete(key);
    }
  }
}

/** runtime.MemStats under the names of Go's client library; nothing where this program's cannot be found. */
function memoryFacts(entry: Entry, process: GoProcess): Pick<GoFacts, "values" | "pauses"> {
  if (entry.memory === undefined) {
    try {
      entry.memory = new MemStatsReader(process.runtime);
    } catch (error) {
      if (!(error instanceof ProcscopeError)) throw error;
      entry.memory = null;
    }
  }
  if (entry.memory === null) return { values: new Map(), pauses: [] };
  const stats = entry.memory.read();
  const values = new Map<string, number>();
  for (const [field, name] of memoryNames) values.set(name, Number(stats[field]));
  values.set("memstats_last_gc_time_seconds", Number(stats.LastGC) / 1e9);
  values.set("gc_duration_seconds_sum", Number(stats.PauseTotalNs) / 1e9);
  values.set("gc_duration_seconds_count", stats.NumGC);
  const pauses = stats.PauseNs.slice(0, Math.min(stats.NumGC, stats.PauseNs.length));
  return { values, pauses: pauses.map((pause) => Number(pause) / 1e9) };
}

type MemoryField = { [K in keyof MemStats]: MemStats[K] extends bigint ? K : never }[keyof MemStats];

/** As collectors.NewGoCollector of the Go client names the fields. */
const memoryNames: readonly (readonly [field: MemoryField, name: string])[] = [
  ["Alloc", "memstats_alloc_bytes"],
  ["TotalAlloc", "memstats_alloc_bytes_total"],
  ["Sys", "memstats_sys_bytes"],
  ["Lookups", "memstats_lookups_total"],
  ["Mallocs", "memstats_mallocs_total"],
  ["Frees", "memstats_frees_total"],
  ["HeapAlloc", "memstats_heap_alloc_bytes"],
  ["HeapSys", "memstats_heap_sys_bytes"],
  ["HeapIdle", "memstats_heap_idle_bytes"],
  ["HeapInuse", "memstats_heap_inuse_bytes"],
  ["HeapReleased", "memstats_heap_released_bytes"],
  ["HeapObjects", "memstats_heap_objects"],
  ["StackInuse", "memstats_stack_inuse_bytes"],
  ["StackSys", "memstats_stack_sys_bytes"],
  ["MSpanInuse", "memstats_mspan_inuse_bytes"],
  ["MSpanSys", "memstats_mspan_sys_bytes"],
  ["MCacheInuse", "memstats_mcache_inuse_bytes"],
  ["MCacheSys", "memstats_mcache_sys_bytes"],
  ["BuckHashSys", "memstats_buck_hash_sys_bytes"],
  ["GCSys", "memstats_gc_sys_bytes"],
  ["OtherSys", "memstats_other_sys_bytes"],
  ["NextGC", "memstats_next_gc_bytes"],
];

/** Goroutines as runtime.NumGoroutine counts them, without the runtime's own, by the runtime's word for what they do. */
function countByState(reader: GoroutineReader): ReadonlyMap<string, number> {
  const addresses = reader.addresses();
  const table = new GoroutineTable(reader.layout, Math.min(batch, addresses.length));
  const counts = new Map<string, number>();
  for (let first = 0; first < addresses.length; first += batch) {
    const rows = Math.min(batch, addresses.length - first);
    reader.load(table, addresses, first, rows);
    for (let row = 0; row < rows; row++) {
      if (table.gone(row) || table.state(row) === goroutineStatus.idle || reader.isSystem(table, row)) continue;
      const word = reader.statusWord(table, row);
      counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  return counts;
}
