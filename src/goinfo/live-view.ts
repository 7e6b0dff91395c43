/** The view into a running Go process from outside, which the files of the tree are made from. */
import { readlinkSync } from "node:fs";
import { escapeTerminal } from "../base/escape.ts";
import { type Column, textTable } from "../base/text-table.ts";
import type { Pid } from "../base/units.ts";
import { GoroutineReader, type GoroutineVisitor } from "../go/goroutine-reader.ts";
import { GoroutineTable } from "../go/goroutine-table.ts";
import { MemStatsReader } from "../go/mem-stats.ts";
import { GoProcess } from "../go/process.ts";
import { monotonicNow, takeSnapshot } from "../go/snapshot.ts";
import { ChunkWriter } from "../profile/chunk-writer.ts";
import { placeText } from "../views/goroutine-source.ts";
import { type GoroutineGroup, groupGoroutines } from "../views/groups.ts";
import { LiveGoroutines } from "../views/live-goroutines.ts";
import { TracebackWriter } from "../views/traceback.ts";
import type { GoView } from "./go-view.ts";
import { type Figures, jsonLine } from "./memory-lines.ts";

export class LiveView implements GoView {
  private readonly process: GoProcess;
  private statistics: MemStatsReader | undefined;

  /** Throws NO_PROCESS, PERMISSION, UNSUPPORTED_TARGET. */
  constructor(pid: Pid) {
    this.process = GoProcess.attach(pid);
  }

  memStats(): Figures {
    this.statistics ??= new MemStatsReader(this.process.runtime);
    return { ...this.statistics.read() };
  }

  *stacktrace(): Iterable<Uint8Array> {
    const reader = new GoroutineReader(this.process.runtime);
    const addresses = reader.addresses();
    const table = new GoroutineTable(reader.layout, batchRows);
    const out = new ChunkWriter();
    const writer = new TracebackWriter(reader, out, monotonicNow());
    const visitor: GoroutineVisitor = {
      wants: (row) => !reader.isSystem(table, row),
      stack: (row, node, copy) => writer.withStack(table, row, node, copy),
      noStack: (row) => writer.withoutStack(table, row),
    };
    for (let first = 0; first < addresses.length; first += batchRows) {
      reader.read(table, addresses, first, Math.min(batchRows, addresses.length - first), 0, visitor);
      if (out.full) yield out.take();
    }
    yield out.take();
  }

  *goroutines(): Iterable<string> {
    const live = this.snapshot(true);
    const { pid, version } = this.process.info;
    const takenAt = new Date(live.takenAt).toISOString();
    yield jsonLine({ schema: "procscope/goroutines/1", pid, goVersion: version.text, takenAt, count: live.count });
    for (let row = 0; row < live.count; row++) yield jsonLine(record(live, row));
  }

  summary(): string {
    const groups = groupGoroutines(this.snapshot(false), { kind: "start" });
    return table(groups, "STARTED", (group) => placeText(group.place, true));
  }

  waitReasons(): string {
    const groups = groupGoroutines(this.snapshot(false), { kind: "reason" });
    return table(groups, "WAITS FOR", (group) => group.name);
  }

  info(): string {
    const { pid, version, build, architecture } = this.process.info;
    const lines = [
      ["pid", String(pid)],
      ["go", version.text],
      ["architecture", architecture],
      ["exe", linkOf(pid)],
      ["path", build.path],
      ["module", build.module && `${build.module.path} ${build.module.version}`],
      ...build.settings,
    ];
    return lines.map(([name, value]) => `${escapeTerminal(`${name} ${value ?? "-"}`)}\n`).join("");
  }

  close(): void {
    this.process[Symbol.dispose]();
  }

  private snapshot(stacks: boolean): LiveGoroutines {
    return new LiveGoroutines(takeSnapshot(new GoroutineReader(this.process.runtime), { stacks }));
  }
}

/** A goroutine as `procscope dump --format json` has it. */
function record(live: LiveGoroutines, row: number) {
  const wait = live.waitSeconds(row);
  const { function: creator, file, line } = live.creator(row);
  const labels = live.labels(row);
  return {
    id: live.id(row),
    status: live.state(row),
    waitReason: live.reason(row) || null,
    waitingSeconds: wait < 0 ? null : wait,
    lockedToThread: live.lockedToThread(row),
    system: live.system(row),
    startFunction: live.start(row).function,
    createdBy: creator === "" ? null : { function: creator, file, line, goroutineId: live.creatorId(row) || null },
    ...(labels === undefined ? {} : { labels: Object.fromEntries(labels) }),
    frames: live.frames(row).map((frame) => ({
      function: frame.function,
      file: frame.file,
      line: frame.line,
      ...(frame.inlined ? { inlined: true } : {}),
    })),
  };
}

/** Goroutines read between two turns of other readers. */
const batchRows = 1024;

const columns: readonly Column[] = [{ title: "COUNT", align: "right" }, { title: "" }];

/** Counts, largest first, and the sum. */
function table(groups: readonly GoroutineGroup[], title: string, name: (group: GoroutineGroup) => string): string {
  const rows = groups.map((group) => [String(group.count), escapeTerminal(name(group))]);
  const all = groups.reduce((sum, group) => sum + group.count, 0);
  const lines = textTable([columns[0]!, { title }], [...rows, [String(all), "all"]]);
  return `${lines.join("\n")}\n`;
}

function linkOf(pid: Pid): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return "-";
  }
}
