/** The head of a report: what the profile is of and what of it is shown, in the words of `go tool pprof`. */
import { basename } from "node:path";
import type { CallGraph } from "./call-graph.ts";
import { Measure, percentage } from "./measure.ts";
import type { Profile } from "./model.ts";

export interface About {
  readonly title?: string | undefined;
  /** Formats the total; otherwise in the unit that fits it best. */
  readonly measure?: Measure | undefined;
}

/** Lines about the profile: File, Type, Time, Duration … and its comments. */
export function profileLines(profile: Profile, type: number, total: number, about: About = {}): string[] {
  const lines: string[] = [];
  const { title, measure } = about;
  const main = profile.mappings[0];
  if (title) lines.push(title);
  if (main?.file) lines.push(`File: ${basename(main.file)}`);
  if (main?.buildId) lines.push(`Build ID: ${main.buildId}`);
  lines.push(...profile.comments);
  const { type: name, unit } = profile.sampleTypes[type]!;
  lines.push(`Type: ${name}`);
  if (profile.timeNanos !== 0n) lines.push(`Time: ${timeText(profile.timeNanos)}`);
  if (profile.durationNanos !== 0) lines.push(durationLine(profile.durationNanos, total, unit, measure));
  return lines;
}

/** `2026-11-21 05:41:26 UTC`. Milliseconds since 1970 beyond what a Date holds are written as a number. */
function timeText(nanos: bigint): string {
  const date = new Date(Number(nanos / 1_000_000n));
  return Number.isNaN(date.getTime())
    ? `${nanos}ns since 1970`
    : date.toISOString().replace("T", " ").replace(/\..*/, " UTC");
}

function durationLine(duration: number, total: number, unit: string, chosen?: Measure): string {
  const measure = new Measure(unit);
  const sum = chosen ? chosen.format(total) : measure.formatAlone(total);
  const nanos = measure.isTime ? measure.nanoseconds(total) : 0;
  const share = nanos !== 0 ? ` (${percentage(nanos, duration)})` : "";
  return `Duration: ${new Measure("nanoseconds").formatAlone(duration)}, Total samples = ${sum}${share}`;
}

/** The unit for all values of a graph. */
export function measureOf(profile: Profile, type: number, graph: CallGraph): Measure {
  const measure = new Measure(profile.sampleTypes[type]!.unit);
  let smallest = 0;
  for (const node of graph.nodes) {
    const value = Math.abs(node.flat) || Math.abs(node.cumulative);
    if (value > 0 && (smallest === 0 || value < smallest)) smallest = value;
  }
  measure.chooseUnit(smallest || Math.abs(graph.total), Math.abs(graph.total));
  return measure;
}

/** Lines about what is shown: nodes accounting for …, dropped nodes, dropped edges, top nodes. */
export function shownLines(graph: CallGraph, measure: Measure): string[] {
  const { total, nodes } = graph;
  const flat = nodes.reduce((sum, node) => sum + node.flat, 0);
  const lines = [
    `Showing nodes accounting for ${measure.format(flat)}, ${percentage(flat, total)} of ${measure.format(total)} total`,
  ];
  const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;
  if (graph.droppedNodes > 0) {
    lines.push(`Dropped ${plural(graph.droppedNodes, "node")} (cum <= ${measure.format(graph.nodeCutoff)})`);
  }
  if (graph.droppedEdges > 0) {
    lines.push(`Dropped ${plural(graph.droppedEdges, "edge")} (freq <= ${measure.format(graph.edgeCutoff)})`);
  }
  if (nodes.length < graph.candidates) lines.push(`Showing top ${nodes.length} nodes out of ${graph.candidates}`);
  return lines;
}
