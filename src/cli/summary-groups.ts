import { formatDuration } from "../base/duration.ts";
import { escapeTerminal } from "../base/escape.ts";
import type { GoroutineFilter } from "../views/filters.ts";
import { type GoroutineSource, goroutineStates } from "../views/goroutine-source.ts";
import { type GoroutineGroup, groupGoroutines, parseGroupBy } from "../views/groups.ts";
import { type PlaceKind, placeWords } from "../views/summary.ts";
import { openSink } from "./output.ts";
import { headJson, type SummaryHead } from "./summary-json.ts";
import { headLines } from "./summary-text.ts";

export interface GroupRequest {
  /** As the user writes it: function, reason, creator, label:KEY … */
  readonly by: string;
  readonly kind: PlaceKind;
  readonly filter: GoroutineFilter;
  readonly json: boolean;
  readonly full: boolean;
  readonly head: SummaryHead;
}

const placeOfKind = { caller: "creator", start: "start", current: "current" } as const;

/** Prints counts of groups, largest first. Throws USAGE for what goroutines cannot be grouped by. */
export function printGroups(source: GoroutineSource, request: GroupRequest): void {
  const groups = groupGoroutines(source, parseGroupBy(request.by, placeOfKind[request.kind]), {
    filter: request.filter,
  });
  const sink = openSink();
  if (request.json) {
    const list = groups.map((group) => groupJson(group));
    sink.write(`${JSON.stringify({ ...headJson(request.head, request.kind), group: request.by, groups: list })}\n`);
    return;
  }
  const harmless = process.stdout.isTTY ? escapeTerminal : (text: string): string => text;
  const lines = groups.map((group) => harmless(groupLine(group, request.full)));
  sink.write(`${[...headLines(request.head), "", `goroutines by ${request.by}:`, "", ...lines].join("\n")}\n`);
}

function groupLine(group: GoroutineGroup, full: boolean): string {
  const what = group.name === "" ? placeWords(group.place, full) : group.name;
  const more = [
    goroutineStates.map((state, i) => [state, group.states[i]!] as const).filter(([, count]) => count > 0),
  ].flatMap((counts) => counts.map(([state, count]) => `${count} ${state}`));
  if (group.reason !== "") more.push(`mostly ${group.reason}`);
  if (group.longestWait >= 0) more.push(`longest ${formatDuration(group.longestWait * 1e9)}`);
  return `${String(group.count).padStart(7)}  ${what}  [${more.join(", ")}]`;
}

function groupJson(group: GoroutineGroup): Record<string, unknown> {
  const { function: name, file, line } = group.place;
  return {
    name: group.name === "" ? undefined : group.name,
    function: name,
    file,
    line,
    count: group.count,
    states: Object.fromEntries(
      goroutineStates.map((state, i) => [state, group.states[i]!]).filter(([, count]) => count !== 0),
    ),
    waitReason: group.reason === "" ? undefined : group.reason,
    longestWaitSeconds: group.longestWait < 0 ? undefined : group.longestWait,
  };
}
