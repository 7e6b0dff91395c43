/** The view into a running Go process from outside, which the files of the tree are made from. */
import { readlinkSync } from "node:fs";
import { escapeTerminal } from "../base/escape.ts";
import { type Column, textTable } from "../base/text-table.ts";
import type { Pid } from "../base/units.ts";
import { GoroutineReader } from "../go/goroutine-reader.ts";
import { GoProcess } from "../go/process.ts";
import { takeSnapshot } from "../go/snapshot.ts";
import { newTally } from "../views/dump.ts";
import { recordChunks } from "../views/dump-records.ts";
import { placeText } from "../views/goroutine-source.ts";
import { type GoroutineGroup, groupGoroutines } from "../views/groups.ts";
import { LiveGoroutines } from "../views/live-goroutines.ts";
import { tracebackChunks } from "../views/traceback-dump.ts";
import type { GoView } from "./go-view.ts";
import type { Figures } from "./memory-lines.ts";

export class LiveView implements GoView {
  private readonly process: GoProcess;

  /** Throws NO_PROCESS, PERMISSION, UNSUPPORTED_TARGET. */
  constructor(pid: Pid) {
    this.process = GoProcess.attach(pid);
  }

  memStats(): Figures {
    return { ...this.process.memStats() };
  }

  stacktrace(): Iterable<Uint8Array> {
    return tracebackChunks(this.reader(), {}, newTally());
  }

  goroutines(): Iterable<Uint8Array> {
    const { pid, version } = this.process.info;
    const goVersion = version.text;
    const header = { schema: "procscope/dump/1", pid, goVersion, takenAt: new Date().toISOString() };
    return recordChunks(this.reader(), {}, newTally(), { pid, goVersion, program: linkOf(pid), header });
  }

  summary(): string {
    const groups = groupGoroutines(this.snapshot(), { kind: "start" });
    return table(groups, "STARTED", (group) => placeText(group.place, true));
  }

  waitReasons(): string {
    const groups = groupGoroutines(this.snapshot(), { kind: "reason" });
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

  private snapshot(): LiveGoroutines {
    return new LiveGoroutines(takeSnapshot(this.reader(), { stacks: false }));
  }

  /** A new one for each file: the tables that it gathers belong to one reading. */
  private reader(): GoroutineReader {
    return new GoroutineReader(this.process.runtime);
  }
}

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
