/** `summary --group resource`: what goroutines wait for, who waits there, and who may wait forever. */
import { escapeTerminal } from "../base/escape.ts";
import type { Pid } from "../base/units.ts";
import { type GoroutineFilter, rowFilter } from "../views/filters.ts";
import { placeText } from "../views/goroutine-source.ts";
import type { LiveGoroutines } from "../views/live-goroutines.ts";
import { hex, type Resource, Resources, resourceText } from "../views/resources.ts";
import { findSuspects, type Suspicion } from "../views/suspects.ts";
import { openSink } from "./output.ts";

export interface ResourceRequest {
  readonly pid: Pid;
  readonly filter: GoroutineFilter;
  readonly json: boolean;
  readonly full: boolean;
  /** Lines, and members of the JSON object, that come first. */
  readonly head: readonly string[];
  readonly jsonHead: Record<string, unknown>;
}

/** Waiters named with a resource in text. */
const mostNamed = 10;
/** Suspects named in text; JSON has all. */
const mostSuspects = 100;

export function printResources(source: LiveGoroutines, request: ResourceRequest): void {
  const resources = Resources.read(source);
  const passes = rowFilter(source, request.filter);
  const { suspects, complete } = findSuspects(request.pid, source, resources);
  const suspicion = { complete, suspects: suspects.filter(({ row }) => !passes || passes(row)) };
  const shown = resources
    .all()
    .map((resource) => ({ ...resource, waiters: resource.waiters.filter((row) => !passes || passes(row)) }))
    .filter((resource) => resource.waiters.length > 0);
  const sink = openSink();
  if (request.json) {
    const list = shown.map((resource) => resourceJson(resource, source));
    const told = suspicion.suspects.map(({ row, kind, reason }) => ({ goroutine: source.id(row), kind, reason }));
    const body = { ...request.jsonHead, group: "resource", resources: list, suspects: told, memoryComplete: complete };
    sink.write(`${JSON.stringify(body)}\n`);
    return;
  }
  const lines = shown.flatMap((resource) => resourceLines(resource, source, request.full));
  sink.write(
    `${[...request.head, "", "goroutines by what they wait for:", "", ...lines, ...suspectLines(suspicion, source)].join("\n")}\n`,
  );
}

function resourceLines(resource: Resource, source: LiveGoroutines, full: boolean): string[] {
  const { waiters } = resource;
  const named = waiters.slice(0, mostNamed).map((row) => {
    const place = escapeTerminal(placeText(source.creator(row), full));
    return `           ${source.id(row)} [${source.reason(row)}] ${place}`;
  });
  const rest = waiters.length > mostNamed ? [`           … and ${waiters.length - mostNamed} more`] : [];
  return [`${String(waiters.length).padStart(7)}  ${resourceText(resource)}`, ...named, ...rest];
}

function suspectLines({ suspects, complete }: Suspicion, source: LiveGoroutines): string[] {
  const lines = suspects
    .slice(0, mostSuspects)
    .map(({ row, reason }) => `  goroutine ${source.id(row)} ${escapeTerminal(reason)}${startedBy(row, source)}`);
  if (suspects.length > mostSuspects) lines.push(`  … and ${suspects.length - mostSuspects} more`);
  const partly = complete
    ? []
    : ["", "Not all memory could be looked at: channels that nothing refers to are not told."];
  return lines.length === 0 ? partly : ["", "suspects, never certain:", "", ...lines, ...partly];
}

function startedBy(row: number, source: LiveGoroutines): string {
  return `; created by ${escapeTerminal(placeText(source.creator(row)))}`;
}

function resourceJson(resource: Resource, source: LiveGoroutines): Record<string, unknown> {
  const { kind, address, waiters, channel, lock } = resource;
  return {
    kind,
    address: hex(address),
    waiters: waiters.map((row) => source.id(row)),
    ...(channel && {
      elementType: channel.elementType,
      elementSize: channel.elementSize,
      length: channel.length,
      capacity: channel.capacity,
      closed: channel.closed,
      timer: channel.timer,
    }),
    ...lock,
  };
}
