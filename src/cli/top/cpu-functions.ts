/** The functions of a process by CPU time of the last interval, for `top --cpu`. */
import type { Seconds } from "../../base/units.ts";
import { callGraph } from "../../profile/call-graph.ts";
import type { Profile } from "../../profile/model.ts";
import { topNodes } from "../../profile/top.ts";
import { Recorder, type RecorderOptions } from "../../sampling/recorder.ts";

/** A function; shares are percentages of one CPU. */
export interface CpuFunction {
  readonly name: string;
  readonly flat: number;
  readonly cumulative: number;
}

export interface CpuSample {
  /** What it is a sample of: "cpu", or "wall" where perf events are refused. */
  readonly kind: string;
  readonly functions: readonly CpuFunction[];
  readonly total: number;
  readonly samples: number;
  readonly lost: number;
  readonly notes: readonly string[];
  readonly duration: Seconds;
}

/** Records without a gap worth naming: each look ends one recording and begins the next. */
export class CpuFunctions implements Disposable {
  readonly #options: RecorderOptions;
  #recorder: Recorder;

  /** Starts recording at once. Throws as {@link Recorder}. */
  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#recorder = new Recorder(options);
  }

  /** What was recorded since the last look. Throws NO_PROCESS where the process has exited. */
  look(): CpuSample {
    const { profile, report } = this.#recorder.finish();
    this.#recorder = new Recorder(this.#options);
    const { functions, total } = functionsOf(profile, report.duration);
    return {
      kind: report.kind,
      functions,
      total,
      samples: report.cpu?.samples ?? report.wall?.samples ?? 0,
      lost: report.cpu?.lost ?? 0,
      notes: report.notes,
      duration: report.duration,
    };
  }

  [Symbol.dispose](): void {
    this.#recorder.close();
  }
}

function functionsOf(profile: Profile, seconds: Seconds): { functions: CpuFunction[]; total: number } {
  const graph = callGraph(profile, profile.defaultType, { nodeCount: Number.POSITIVE_INFINITY });
  const share = (nanoseconds: number): number => nanoseconds / 1e7 / Math.max(seconds, 1e-3);
  const functions = topNodes(graph).map(({ name, flat, cumulative }) => ({
    name,
    flat: share(flat),
    cumulative: share(cumulative),
  }));
  return { functions, total: share(graph.total) };
}
