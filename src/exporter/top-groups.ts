/**
 * Shows only the N groups that use most, and sums the rest in "other". What a group uses while it is not shown counts
 * for "other", what it uses while it is shown for itself: every counter only grows, and the sum of all rates is true.
 */
import { Counter, counterCount, Gauge, Group, gaugeCount, otherName, processCounterCount } from "../proc/group.ts";

export type TopBy = "cpu" | "memory";

/** What was counted of a group when it was looked at last. */
interface Seen {
  readonly counters: Float64Array;
  readonly exits: Map<number, number>;
  readonly threads: Map<string, Float64Array>;
  /** The sum of what it used while it was shown. */
  readonly shown: Group;
}

export class TopGroups {
  private readonly most: number;
  private readonly by: TopBy;
  private readonly seen = new Map<Group, Seen>();
  private readonly other = new Group(otherName, {}, true);

  constructor(most: number, by: TopBy) {
    this.most = most;
    this.by = by;
  }

  /** The groups to show now, "other" last. */
  select(groups: Iterable<Group>): Group[] {
    const ranked: { group: Group; seen: Seen; weight: number }[] = [];
    const present = new Set<Group>();
    for (const group of groups) {
      present.add(group);
      const seen = this.seenOf(group);
      ranked.push({ group, seen, weight: this.weight(group, seen) });
    }
    for (const group of this.seen.keys()) if (!present.has(group)) this.seen.delete(group);
    ranked.sort((a, b) => b.weight - a.weight);
    this.other.resetGauges();
    const shown: Group[] = [];
    for (const { group, seen } of ranked) {
      const isOwn = shown.length < this.most && group.name !== otherName;
      const target = isOwn ? seen.shown : this.other;
      if (isOwn) {
        target.resetGauges();
        shown.push(target);
      }
      transfer(group, seen, target);
    }
    return [...shown, this.other];
  }

  private seenOf(group: Group): Seen {
    let seen = this.seen.get(group);
    if (!seen) {
      const shown = new Group(group.name, group.labels, group.fixed);
      seen = { counters: new Float64Array(counterCount), exits: new Map(), threads: new Map(), shown };
      this.seen.set(group, seen);
    }
    return seen;
  }

  private weight(group: Group, seen: Seen): number {
    if (this.by === "memory") return group.gauges[Gauge.residentBytes]!;
    const { counters } = group;
    return (
      counters[Counter.cpuUser]! +
      counters[Counter.cpuSystem]! -
      seen.counters[Counter.cpuUser]! -
      seen.counters[Counter.cpuSystem]!
    );
  }
}

/** Adds to `target` what a group counted since it was looked at last, and its present sizes. */
function transfer(group: Group, seen: Seen, target: Group): void {
  addGrowth(group.counters, seen.counters, target.counters, counterCount);
  for (const [how, count] of group.exits) {
    target.exits.set(how, (target.exits.get(how) ?? 0) + count - (seen.exits.get(how) ?? 0));
    seen.exits.set(how, count);
  }
  for (const [name, thread] of group.threads) {
    let before = seen.threads.get(name);
    if (!before) {
      before = new Float64Array(processCounterCount);
      seen.threads.set(name, before);
    }
    const to = target.thread(name, Number.POSITIVE_INFINITY);
    to.count += thread.count;
    addGrowth(thread.counters, before, to.counters, processCounterCount);
  }
  for (const [wchan, count] of group.wchans) target.wchans.set(wchan, (target.wchans.get(wchan) ?? 0) + count);
  target.peakBytes = Math.max(target.peakBytes, group.peakBytes);
  for (let i = 0; i < gaugeCount; i++) {
    const value = group.gauges[i]!;
    if (i === Gauge.oldestStart) target.gauges[i] = Math.min(target.gauges[i]!, value);
    else if (i === Gauge.worstFileRatio) target.gauges[i] = Math.max(target.gauges[i]!, value);
    else target.gauges[i]! += value;
  }
}

function addGrowth(now: Float64Array, before: Float64Array, to: Float64Array, count: number): void {
  for (let i = 0; i < count; i++) {
    to[i]! += now[i]! - before[i]!;
    before[i] = now[i]!;
  }
}
