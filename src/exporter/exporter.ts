/** Puts an exporter together from its settings. */
import { ProcscopeError } from "../base/errors.ts";
import type { Seconds } from "../base/units.ts";
import { readBootTime } from "../kernel/boot-time.ts";
import { defaultProcMount } from "../kernel/proc-file.ts";
import { ColumnGrouper } from "../proc/column-grouper.ts";
import { ProportionalReader } from "../proc/proportional.ts";
import { openExitSource } from "../proc/sources/exits.ts";
import { openBestSource, openSource } from "../proc/sources/open.ts";
import type { ExitSource, ProcessSource, SourceName } from "../proc/sources/source.ts";
import { Collector } from "./collector.ts";
import type { GoInsideProvider, GoLevel } from "./go-inside.ts";
import { type NameTemplate, parseNameTemplate } from "./name-template.ts";
import { type Rule, RuleNamer } from "./rules.ts";
import { collectGarbage } from "./small-heap.ts";
import { loadState, saveState } from "./state-file.ts";
import { type TopBy, TopGroups } from "./top-groups.ts";

export interface ExporterSettings {
  /**
   * Gives the rules of the groups. Called when the sources are open: what opening them and what parsing the rules needs
   * for a moment (the kernel's type information, a YAML parser) must not be in memory together.
   */
  readonly readRules: () => Promise<readonly Rule[]>;
  /** Where procfs is mounted. */
  readonly mount: string;
  readonly children: boolean;
  readonly threads: boolean;
  readonly smaps: boolean;
  readonly smapsBudget: Seconds;
  /** Bytes of resident memory above which a process's proportional memory is not read. */
  readonly smapsLargest: number;
  readonly recheck: boolean;
  readonly recheckLimit: Seconds;
  readonly removeEmptyGroups: boolean;
  /** How long an empty group is shown; undefined for ever. */
  readonly groupLife: Seconds | undefined;
  readonly source: SourceName | "auto";
  /** Whether to ask for exit records: where rights lack, "auto" goes on without. */
  readonly exits: "auto" | "on" | "off";
  /** Labels on every group: "user", "container", "pod", "unit", or "name={{template}}". */
  readonly labels: readonly string[];
  readonly zeroRows: boolean;
  readonly top: number | undefined;
  readonly topBy: TopBy;
  readonly maxGroups: number;
  readonly maxThreadNames: number;
  readonly stateFile: string | undefined;
  readonly go: GoLevel;
  readonly goBudget: Seconds;
  readonly reuse: Seconds;
  readonly version: string;
  /** Gives the reader of Go processes; undefined where this build has none. */
  readonly openGoInside: (() => Promise<GoInsideProvider>) | undefined;
  readonly log: (message: string) => void;
}

const labelTemplates: Record<string, string> = {
  user: "{{.Username}}",
  container: "{{.ContainerID}}",
  pod: "{{.PodID}}",
  unit: "{{.SystemdUnit}}",
};

/** The labels of --label as templates by name. Throws USAGE. */
export function parseLabels(words: readonly string[]): Map<string, NameTemplate> {
  const labels = new Map<string, NameTemplate>();
  for (const word of words) {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    const template = equals < 0 ? labelTemplates[word] : word.slice(equals + 1);
    if (template === undefined) {
      throw new ProcscopeError("USAGE", `no such label: ${word}`, {
        hint: `write one of ${Object.keys(labelTemplates).join(", ")}, or name={{template}}`,
      });
    }
    labels.set(name, parseNameTemplate(template));
  }
  return labels;
}

/** How often exit records are taken between scrapes, and the state is saved, in milliseconds. */
const drainEvery = 250;
const saveEvery = 60_000;

export class Exporter {
  readonly collector: Collector;
  private readonly settings: ExporterSettings;
  private readonly timers: NodeJS.Timeout[] = [];

  private constructor(collector: Collector, settings: ExporterSettings) {
    this.collector = collector;
    this.settings = settings;
  }

  /** Opens the sources and scans once. Throws what keeps an exporter with these settings from working here. */
  static async open(settings: ExporterSettings): Promise<Exporter> {
    const labels = parseLabels(settings.labels);
    const bootTime = readBootTime(settings.mount);
    const source = chooseSource(settings);
    let exits: ExitSource | undefined;
    try {
      exits = chooseExits(settings);
      await collectGarbage();
      const namer = new RuleNamer(await settings.readRules(), labels);
      await collectGarbage();
      const grouper = new ColumnGrouper({
        source,
        namer,
        mount: settings.mount,
        bootTime,
        trackChildren: settings.children,
        threads: settings.threads,
        wchan: true,
        recheck: settings.recheck || settings.recheckLimit > 0,
        recheckLimit: settings.recheckLimit,
        countFromStart: true,
        maxGroups: settings.maxGroups,
        maxThreadNames: settings.maxThreadNames,
        emptyGroupLife: settings.removeEmptyGroups ? 0 : (settings.groupLife ?? Number.POSITIVE_INFINITY),
        exitRecords: exits !== undefined,
      });
      if (settings.stateFile !== undefined && loadState(settings.stateFile, grouper)) {
        settings.log(`counters go on from ${settings.stateFile}`);
      }
      const collector = new Collector({
        grouper,
        exits,
        proportional: settings.smaps
          ? new ProportionalReader(grouper, { budget: settings.smapsBudget * 1000, largest: settings.smapsLargest })
          : undefined,
        top: settings.top === undefined ? undefined : new TopGroups(settings.top, settings.topBy),
        zeroRows: settings.zeroRows,
        go: await goInside(settings),
        version: settings.version,
        reuse: settings.reuse * 1000,
        log: settings.log,
      });
      await collector.prime();
      await collectGarbage();
      return new Exporter(collector, settings);
    } catch (error) {
      source.close();
      exits?.close();
      throw error;
    }
  }

  /** Starts what has to happen between scrapes. */
  start(): void {
    this.timers.push(setInterval(() => this.collector.drainExits(), drainEvery));
    if (this.settings.stateFile !== undefined) this.timers.push(setInterval(() => this.save(), saveEvery));
  }

  /** Saves the state and frees everything. */
  close(): void {
    for (const timer of this.timers) clearInterval(timer);
    this.collector.drainExits();
    this.save();
    this.collector.close();
  }

  private save(): void {
    if (this.settings.stateFile === undefined) return;
    try {
      saveState(this.settings.stateFile, this.collector.grouper);
    } catch (error) {
      this.settings.log(error instanceof Error ? error.message : String(error));
    }
  }
}

function chooseSource(settings: ExporterSettings): ProcessSource {
  if (settings.source !== "auto") return openSource(settings.source, settings.mount);
  const { source, refused } = openBestSource(settings.mount);
  for (const { name, error } of refused) settings.log(`source ${name} not used: ${error.message}`);
  for (const note of source.notes) settings.log(`source ${source.name}: ${note}`);
  return source;
}

function chooseExits(settings: ExporterSettings): ExitSource | undefined {
  // Records are about this kernel's processes: they say nothing of a copied or foreign procfs.
  if (settings.exits === "off" || (settings.exits === "auto" && settings.mount !== defaultProcMount)) return undefined;
  try {
    const exits = openExitSource();
    for (const note of exits.notes) settings.log(`exit records by ${exits.name}: ${note}`);
    return exits;
  } catch (error) {
    if (settings.exits === "on" || !(error instanceof ProcscopeError)) throw error;
    settings.log(`no exit records, short-lived processes are missed: ${error.message}`);
    return undefined;
  }
}

async function goInside(
  settings: ExporterSettings,
): Promise<{ provider: GoInsideProvider; level: Exclude<GoLevel, "off">; budget: number } | undefined> {
  if (settings.go === "off" || !settings.openGoInside) return undefined;
  return { provider: await settings.openGoInside(), level: settings.go, budget: settings.goBudget * 1000 };
}
