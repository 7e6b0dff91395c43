/** One exporter's state: from a scrape to its text. */
import { performance } from "node:perf_hooks";
import { gzipSync } from "node:zlib";
import { ProcscopeError } from "../base/errors.ts";
import type { ColumnGrouper } from "../proc/column-grouper.ts";
import type { Group } from "../proc/group.ts";
import type { ProportionalReader } from "../proc/proportional.ts";
import type { ExitSource } from "../proc/sources/source.ts";
import { ByteSink, type ExpositionFormat, ExpositionWriter, labelSet, metric } from "./exposition.ts";
import { readGoGroups } from "./go-groups.ts";
import { type GoInsideProvider, GoLedger, type GoLevel, type GoTotals, renderGoInside } from "./go-inside.ts";
import { GroupRenderer } from "./group-metrics.ts";
import { renderBuildInfo, renderOwnProcess } from "./self-metrics.ts";
import type { TopGroups } from "./top-groups.ts";

const scrapeErrors = metric(
  "namedprocess_scrape_errors",
  "counter",
  "general scrape errors: no proc metrics collected during a cycle",
);
const procreadErrors = metric(
  "namedprocess_scrape_procread_errors",
  "counter",
  "incremented each time a proc's metrics collection fails",
);
const partialErrors = metric(
  "namedprocess_scrape_partial_errors",
  "counter",
  "incremented each time a tracked proc's metrics collection fails partially, e.g. unreadable I/O stats",
);
const sourceInfo = metric("procscope_exporter_source_info", "gauge", "Where processes and exits are read from");
const scanSeconds = metric("procscope_exporter_scan_seconds", "gauge", "How long the last scan of all processes took");
const processCount = metric("procscope_exporter_processes", "gauge", "Processes that the last scan saw");
const refusedGroups = metric(
  "procscope_exporter_group_refusals_total",
  "counter",
  'Times that a process was counted for the group "other" because there were as many groups as allowed',
);
const lostExits = metric(
  "procscope_exporter_exit_records_lost_total",
  "counter",
  "Exit records that the kernel dropped because its queue was full",
);
const unattributedExits = metric(
  "procscope_exporter_exit_records_ungrouped_total",
  "counter",
  "Exit records of processes that belong to no group",
);
const postponedProportional = metric(
  "procscope_exporter_smaps_postponed_processes",
  "gauge",
  "Processes whose proportional memory the last scrape had no time to read",
);
const largeProportional = metric(
  "procscope_exporter_smaps_skipped_processes",
  "gauge",
  "Processes whose proportional memory is not read because they are too large",
);

export interface CollectorOptions {
  readonly grouper: ColumnGrouper;
  readonly exits: ExitSource | undefined;
  readonly proportional: ProportionalReader | undefined;
  readonly top: TopGroups | undefined;
  /** Rows for groups that the configuration names, though they never had a process. */
  readonly zeroRows: boolean;
  readonly go:
    | { readonly provider: GoInsideProvider; readonly level: Exclude<GoLevel, "off">; readonly budget: number }
    | undefined;
  readonly version: string;
  /** Milliseconds during which further scrapes are given the same scan. */
  readonly reuse: number;
  /** Called with what went wrong in a scrape that is still answered. */
  readonly log: (message: string) => void;
}

export class Collector {
  readonly grouper: ColumnGrouper;
  private readonly options: CollectorOptions;
  private readonly renderer = new GroupRenderer();
  private readonly goLedger = new GoLedger<Group>();
  private goTotals: ReadonlyMap<Group, GoTotals> = new Map();
  private readonly sourceLabels;
  private scannedAt = Number.NEGATIVE_INFINITY;
  private scanDuration = 0;
  private scanFailed = false;
  private shown: readonly Group[] = [];
  private readonly sinks = { text: new ByteSink(), openmetrics: new ByteSink() };
  /** What was answered since the last scan, by format and encoding, for scrapes that come while it is fresh. */
  private readonly bodies = new Map<string, Buffer>();
  private readonly rendered = new Set<ExpositionFormat>();
  private running: Promise<void> | undefined;

  constructor(options: CollectorOptions) {
    this.options = options;
    this.grouper = options.grouper;
    this.sourceLabels = labelSet({ exits: options.exits?.name ?? "none", source: options.grouper.source.name });
  }

  /** Scans once, so that the first scrape has something to count from. Throws where the processes cannot be read at all. */
  async prime(): Promise<void> {
    this.scan();
    if (this.scanFailed) throw new ProcscopeError("UNREADABLE", "the processes could not be read");
    await this.readGo();
  }

  /** The body of a scrape. Scrapes at the same time share one scan. */
  async collect(format: ExpositionFormat, encoding: "identity" | "gzip" = "identity"): Promise<Buffer> {
    if (performance.now() - this.scannedAt >= this.options.reuse) {
      this.running ??= this.refresh().finally(() => {
        this.running = undefined;
      });
    }
    if (this.running) await this.running;
    const key = `${format} ${encoding}`;
    let body = this.bodies.get(key);
    if (body === undefined) {
      if (!this.rendered.has(format)) this.render(format);
      this.rendered.add(format);
      const { bytes } = this.sinks[format];
      // Compressing here and now is a millisecond for a large answer; threads would each keep a quarter of a megabyte.
      body = encoding === "gzip" ? gzipSync(bytes, { level: 1 }) : Buffer.from(bytes);
      this.bodies.set(key, body);
    }
    return body;
  }

  /** Takes the exit records that have come: on a timer, so that the kernel's queue does not fill between scrapes. */
  drainExits(): void {
    const { exits } = this.options;
    if (exits) this.grouper.applyExits(exits.drain());
  }

  close(): void {
    this.grouper.source.close();
    this.options.exits?.close();
    this.options.go?.provider.close();
  }

  private async refresh(): Promise<void> {
    this.scan();
    await this.readGo();
    const groups = [...this.grouper.groups].filter((group) => group.lastPopulated > 0 || this.hasRow(group));
    this.shown = this.options.top?.select(groups) ?? groups;
    this.bodies.clear();
    this.rendered.clear();
    this.scannedAt = performance.now();
  }

  private scan(): void {
    const { exits, proportional } = this.options;
    const begin = performance.now();
    try {
      this.grouper.update(exits && (() => exits.drain()), proportional && (() => proportional.round()));
      this.scanFailed = false;
    } catch (error) {
      if (!(error instanceof ProcscopeError)) throw error;
      this.scanFailed = true;
      this.options.log(`error reading procs: ${error.message}`);
    }
    this.scanDuration = (performance.now() - begin) / 1000;
  }

  private async readGo(): Promise<void> {
    const { go } = this.options;
    if (!go) return;
    this.goTotals = await readGoGroups(this.grouper, go.provider, go.level, go.budget, this.goLedger);
  }

  private render(format: ExpositionFormat): void {
    const { options, grouper } = this;
    const writer = new ExpositionWriter(format, this.sinks[format]);
    const { bootTime } = grouper.options;
    if (!this.scanFailed) {
      this.renderer.render(writer, this.shown, {
        bootTime,
        now: Date.now() / 1000,
        threads: grouper.options.threads,
        proportional: options.proportional !== undefined,
        exits: options.exits,
        wchanNames: grouper.source.processes.names,
      });
      this.renderGo(writer);
    }
    this.renderSelf(writer);
    renderBuildInfo(writer, options.version);
    renderOwnProcess(writer, bootTime);
    writer.finish();
  }

  /** A group without processes so far: resumed from a file, known from exit records, or asked for. */
  private hasRow(group: Group): boolean {
    return this.options.zeroRows || group.counters.some((value) => value > 0);
  }

  private renderGo(writer: ExpositionWriter): void {
    if (!this.options.go) return;
    renderGoInside(
      writer,
      [...this.goTotals].map(([group, totals]) => {
        const labels = this.renderer.labelsOf(group);
        return { totals, base: labels.base, with: labels.with.bind(labels) };
      }),
    );
  }

  private renderSelf(writer: ExpositionWriter): void {
    const { grouper, options } = this;
    writer.single(scrapeErrors, grouper.errors.scans);
    writer.single(procreadErrors, grouper.errors.processes);
    writer.single(partialErrors, grouper.errors.partial);
    writer.family(sourceInfo);
    writer.sample(this.sourceLabels, 1);
    writer.single(scanSeconds, this.scanDuration);
    writer.single(processCount, grouper.source.processes.count);
    writer.single(refusedGroups, grouper.groups.refused);
    if (options.exits) {
      writer.single(lostExits, options.exits.lost);
      writer.single(unattributedExits, grouper.unattributedExits);
    }
    if (options.proportional) {
      writer.single(postponedProportional, options.proportional.postponed);
      writer.single(largeProportional, options.proportional.skippedLarge);
    }
  }
}
