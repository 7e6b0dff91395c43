import type { ColumnGrouper } from "../proc/column-grouper.ts";
import type { Group } from "../proc/group.ts";
import type { GoFacts, GoInsideProvider, GoLedger, GoLevel, GoProcessRef, GoTotals } from "./go-inside.ts";

/** Asks a provider about the processes of all groups that the last scan saw, and adds up what they say. */
export async function readGoGroups(
  grouper: ColumnGrouper,
  provider: GoInsideProvider,
  level: Exclude<GoLevel, "off">,
  budget: number,
  ledger: GoLedger<Group>,
): Promise<Map<Group, GoTotals>> {
  const { processes } = grouper.source;
  const refs: GoProcessRef[] = [];
  const groups = new Map<number, Group>();
  for (let i = 0; i < processes.count; i++) {
    const row = processes.live[i]!;
    const group = grouper.groupOf(row);
    if (!group || processes.columns.kernelThread[row]) continue;
    const pid = processes.id[row]!;
    refs.push({ pid, startTicks: processes.startTicks[row]!, execMark: processes.columns.execMark[row]! });
    groups.set(pid, group);
  }
  const facts = await provider.read(refs, level, budget);
  const found: [GoProcessRef, Group, GoFacts][] = [];
  for (const ref of refs) {
    const said = facts.get(ref.pid);
    if (said) found.push([ref, groups.get(ref.pid)!, said]);
  }
  return ledger.add(found);
}
