/** `top` without a terminal: one record of NDJSON an interval. */
import type { Seconds } from "../../base/units.ts";
import { goroutineStates, plainPlace } from "../../views/goroutine-source.ts";
import { type GroupBy, groupGoroutines } from "../../views/groups.ts";
import type { Live } from "../live.ts";
import { jsonHeader } from "../output.ts";
import { groupWord, needsStacks, type ResourceOf } from "./groups-table.ts";
import { Sampler } from "./process-head.ts";
import type { TopSample } from "./sample.ts";

export interface RecordOptions {
  readonly by: GroupBy;
  /** Groups in a record. */
  readonly limit: number;
  readonly resources: (sample: TopSample) => ResourceOf;
}

/** Makes the records of one process; changes count from the first. */
export class Recorder {
  private readonly live: Live;
  private readonly options: RecordOptions;
  private readonly sampler: Sampler;
  private first: ReadonlyMap<string, number> | undefined;

  constructor(live: Live, options: RecordOptions) {
    this.live = live;
    this.options = options;
    this.sampler = new Sampler(live.process);
  }

  /** A line of JSON. Throws NO_PROCESS. */
  record(interval: Seconds): string {
    const { by, limit, resources } = this.options;
    const sample = this.sampler.sample(this.live.snapshot(needsStacks(by)), needsStacks(by));
    const resourceOf = by.kind === "resource" ? resources(sample) : undefined;
    const groups = groupGoroutines(sample.source, by, { resourceOf });
    this.first ??= new Map(groups.map((group) => [group.key, group.count]));
    const { pid, goVersion, heap, ...head } = sample.head;
    const line = {
      ...jsonHeader("procscope/top/1", { pid, goVersion: `go${goVersion}` }),
      interval,
      ...head,
      ...(heap && { heap }),
      goroutines: { total: sample.total, ...byState(sample.states) },
      group: groupWord(by),
      groupCount: groups.length,
      groups: groups.slice(0, limit).map((group) => ({
        ...(group.name === "" ? plainPlace(group.place) : { name: group.name }),
        count: group.count,
        change: group.count - (this.first!.get(group.key) ?? 0),
        states: byState(group.states),
        ...(group.reason !== "" && { reason: group.reason }),
        ...(group.longestWait >= 0 && { longestWaitSeconds: group.longestWait }),
      })),
    };
    return `${JSON.stringify(line)}\n`;
  }
}

function byState(counts: readonly number[]): Record<string, number> {
  return Object.fromEntries(goroutineStates.flatMap((state, i) => (counts[i] ? [[state, counts[i]]] : [])));
}
