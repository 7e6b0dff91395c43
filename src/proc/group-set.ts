/** The groups by name, bounded: past a number of them, what is new counts for the group "other". */
import { Group, groupKey, otherName } from "./group.ts";

/** Counters of removed groups that are kept, so that one that comes back goes on where it was. */
const mostRemoved = 10_000;

export class GroupSet {
  /** By index; holes where a group was removed. Index 0 is never used: it means "no group" in row states. */
  readonly byIndex: (Group | undefined)[] = [undefined];
  private readonly byKey = new Map<string, Group>();
  private readonly free: number[] = [];
  private readonly removed = new Map<string, Group>();
  private readonly most: number;
  /** Groups that were refused a place of their own. */
  refused = 0;

  constructor(most: number) {
    this.most = most;
  }

  get size(): number {
    return this.byKey.size;
  }

  *[Symbol.iterator](): Generator<Group> {
    for (const group of this.byIndex) if (group) yield group;
  }

  /** The group of a name, made where it is new and there is room, otherwise "other". */
  get(name: string, labels: Readonly<Record<string, string>>, fixed = false): Group {
    const key = groupKey(name, labels);
    const known = this.byKey.get(key);
    if (known) return known;
    if (this.byKey.size >= this.most && !fixed && key !== otherName) {
      this.refused++;
      return this.get(otherName, {});
    }
    const group = this.removed.get(key) ?? new Group(name, labels, fixed);
    this.removed.delete(key);
    group.resetGauges();
    group.emptySince = undefined;
    group.index = this.free.pop() ?? this.byIndex.length;
    this.byIndex[group.index] = group;
    this.byKey.set(key, group);
    return group;
  }

  /** Takes a group away that has no processes; its counters are kept in case it comes back. */
  remove(group: Group): void {
    const key = groupKey(group.name, group.labels);
    this.byIndex[group.index] = undefined;
    this.free.push(group.index);
    this.byKey.delete(key);
    this.removed.set(key, group);
    if (this.removed.size > mostRemoved) {
      const [oldest] = this.removed.keys();
      this.removed.delete(oldest!);
    }
  }
}
