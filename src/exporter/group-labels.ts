/** The label sets of one group's samples, rendered once. */
import type { ExitDelays } from "../proc/sources/source.ts";
import { type LabelSet, labelSet } from "./exposition.ts";

const modes = ["user", "system"] as const;
const states = ["Running", "Sleeping", "Waiting", "Zombie", "Other"] as const;
const memoryTypes = ["resident", "virtual", "swapped", "proportionalResident", "proportionalSwapped"] as const;
const switchTypes = ["voluntary", "nonvoluntary"] as const;

export class ThreadLabels {
  readonly base: LabelSet;
  readonly modes: readonly LabelSet[];
  readonly ioModes: readonly LabelSet[];
  readonly switches: readonly LabelSet[];

  constructor(labels: Readonly<Record<string, string>>) {
    this.base = labelSet(labels);
    this.modes = modes.map((mode) => labelSet({ ...labels, mode }));
    this.ioModes = ["read", "write"].map((iomode) => labelSet({ ...labels, iomode }));
    this.switches = switchTypes.map((ctxswitchtype) => labelSet({ ...labels, ctxswitchtype }));
  }
}

export class GroupLabels {
  readonly base: LabelSet;
  readonly modes: readonly LabelSet[];
  readonly states: readonly LabelSet[];
  readonly memory: readonly LabelSet[];
  readonly switches: readonly LabelSet[];
  readonly delays: Readonly<Record<keyof ExitDelays, LabelSet>>;
  private readonly labels: Readonly<Record<string, string>>;
  private readonly threads = new Map<string, ThreadLabels>();
  private readonly others = new Map<string, LabelSet>();

  constructor(groupname: string, labels: Readonly<Record<string, string>>) {
    const all = { ...labels, groupname };
    this.labels = all;
    this.base = labelSet(all);
    this.modes = modes.map((mode) => labelSet({ ...all, mode }));
    this.states = states.map((state) => labelSet({ ...all, state }));
    this.memory = memoryTypes.map((memtype) => labelSet({ ...all, memtype }));
    this.switches = switchTypes.map((ctxswitchtype) => labelSet({ ...all, ctxswitchtype }));
    this.delays = {
      cpu: labelSet({ ...all, kind: "cpu" }),
      blockIo: labelSet({ ...all, kind: "block_io" }),
      swap: labelSet({ ...all, kind: "swap" }),
    };
  }

  thread(threadname: string): ThreadLabels {
    let labels = this.threads.get(threadname);
    if (!labels) {
      // Names come and go: what is rendered for them is not kept for ever.
      if (this.threads.size > 4096) this.threads.clear();
      labels = new ThreadLabels({ ...this.labels, threadname });
      this.threads.set(threadname, labels);
    }
    return labels;
  }

  /** The group's labels with others, by any key that tells these apart. */
  with(key: string, more: () => Readonly<Record<string, string>>): LabelSet {
    let labels = this.others.get(key);
    if (!labels) {
      if (this.others.size > 4096) this.others.clear();
      labels = labelSet({ ...this.labels, ...more() });
      this.others.set(key, labels);
    }
    return labels;
  }
}
