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
/** Processes attached to at once: each holds a descriptor and the tables of its program. */
const mostAttached = 256;

interface Entry {
  /** undefined: no Go program, or one that cannot be read. */
  process: GoProcess | undefined;
  reader: GoroutineReader | undefined;
  facts: GoFacts | undefined;
  /** On performance.now()'s clock. */
  nextAt: number;
  /** Number of the round that saw the process last. */
  round: number;
}

/** Further values of a process: "memstats_heap_inuse_bytes", "gc_cycles_total" … */
export type GoValueReader = (process: GoProcess) => ReadonlyMap<string, number>;

export class GoReader implements GoInsideProvider {
  private readonly entries = new Map<string, Entry>();
  private readonly values: GoValueReader | undefined;
  private round = 0;
  private attached = 0;

  constructor(values?: GoValueReader) {
    this.values = values;
  }

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
      entry = { process: undefined, reader: undefined, facts: undefined, nextAt: 0, round: 0 };
      this.entries.set(key, entry);
    }
    return entry;
  }

  private refresh(pid: Pid, entry: Entry, level: Exclude<GoLevel, "off">): void {
    const begin = performance.now();
    try {
      if (!entry.process && !this.attach(pid, entry)) return;
      entry.facts = this.factsOf(entry.process!, entry.reader!, level);
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
    return true;
  }

  private factsOf(process: GoProcess, reader: GoroutineReader, level: Exclude<GoLevel, "off">): GoFacts {
    const byState = countByState(reader);
    let goroutines = 0;
    for (const count of byState.values()) goroutines += count;
    const threads = goThreads(process.runtime).size;
    return {
      version: process.info.version.text,
      goroutines,
      byState,
      threads: threads > 0 ? threads : undefined,
      values: (level === "full" ? this.values?.(process) : undefined) ?? new Map(),
    };
  }

  private detach(entry: Entry): void {
    if (entry.process) {
      entry.process[Symbol.dispose]();
      this.attached--;
    }
    entry.process = undefined;
    entry.reader = undefined;
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
