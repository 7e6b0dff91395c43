/** The heap size that the next collection aims at: runtime.gcControllerState.heapGoalInternal (runtime/mgcpacer.go). */
import type { GoVersion } from "./build-info.ts";
import type { StructView } from "./struct-reader.ts";

/** minRunway: the least distance between the trigger and the goal. */
const leastRunway = 64n << 10n;
const noTrigger = 0xffff_ffff_ffff_ffffn;

/**
 * MemStats.NextGC. `flushed` is what flushing the caches of the Ps would add to the allocated bytes. Where the controller
 * keeps no parts of a goal (before 1.19), it keeps the goal itself: there since 1.17, in mstats before.
 */
export function nextGC(
  controller: StructView | undefined,
  memstats: StructView,
  flushed: bigint,
  version: GoVersion,
): bigint {
  if (!controller?.has("gcPercentHeapGoal"))
    return controller?.has("heapGoal") ? controller.word("heapGoal") : memstats.word("next_gc");
  const byLimit = goalOfLimit(controller, flushed, version);
  let goal = controller.word("gcPercentHeapGoal");
  if (byLimit < goal) return byLimit;
  const sweep = controller.word("sweepDistMinTrigger");
  if (sweep > goal) goal = sweep;
  const triggered = controller.word("triggered");
  return triggered !== noTrigger && goal < triggered + leastRunway ? triggered + leastRunway : goal;
}

/** memoryLimitHeapGoal. */
function goalOfLimit(controller: StructView, flushed: bigint, version: GoVersion): bigint {
  const marked = controller.word("heapMarked");
  const ready = controller.word("mappedReady");
  const limit = controller.word("memoryLimit");
  const allocated = controller.word("totalAlloc") - controller.word("totalFree") + flushed;
  const other = BigInt.asUintN(64, ready - controller.word("heapFree") - allocated);
  const over = ready > limit ? ready - limit : 0n;
  if (other + over >= limit) return marked;
  const goal = limit - (other + over);
  const headroom = headroomOf(goal, version);
  const below = goal < headroom || goal - headroom < headroom ? headroom : goal - headroom;
  return below < marked ? marked : below;
}

/** A constant of the code, in no structure: 1 MiB, since 1.21 at least 3 % of the goal (memoryLimitHeapGoalHeadroomPercent). */
function headroomOf(goal: bigint, version: GoVersion): bigint {
  const least = 1n << 20n;
  const share = version.minor >= 21 ? (goal / 100n) * 3n : 0n;
  return share > least ? share : least;
}
