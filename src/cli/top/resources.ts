/** What goroutines wait for, for the screens. */

import { escapeTerminal } from "../../base/escape.ts";
import { placeText } from "../../views/goroutine-source.ts";
import { LiveGoroutines } from "../../views/live-goroutines.ts";
import { Resources, resourceText } from "../../views/resources.ts";
import type { Live } from "../live.ts";
import type { ResourceOf } from "./groups-table.ts";
import type { TopSample } from "./sample.ts";

const made = new WeakMap<object, Resources>();

/** The resources of a sample's goroutines, read once a sample. */
export function resourcesOf(sample: TopSample): ResourceOf {
  const { source } = sample;
  if (!(source instanceof LiveGoroutines)) return () => undefined;
  let resources = made.get(source);
  if (!resources) {
    resources = Resources.read(source);
    made.set(source, resources);
  }
  const found = resources;
  return (row) => found.group(row);
}

/** Others that are named with a resource. */
const mostNamed = 20;

/** What one goroutine waits for and who else waits there, as lines under its stack. */
export function waitLines(live: Live, id: number): readonly string[] {
  const source = live.snapshot(true);
  const row = rowOf(source, id);
  if (row < 0) return [];
  const resources = Resources.read(source);
  const lines: string[] = [];
  for (const address of resources.of(row)) {
    const resource = resources.at(address);
    lines.push("", `waits for ${resourceText(resource)}`);
    const others = resource.waiters.filter((other) => other !== row);
    if (others.length > 0) lines.push(`  ${others.length} others wait for it:`);
    for (const other of others.slice(0, mostNamed)) {
      const place = placeText({ ...source.start(other), file: "" });
      lines.push(`    goroutine ${source.id(other)} [${source.reason(other)}] ${escapeTerminal(place)}`);
    }
    if (others.length > mostNamed) lines.push(`    … and ${others.length - mostNamed} more`);
  }
  return lines;
}

function rowOf(source: LiveGoroutines, id: number): number {
  for (let row = 0; row < source.count; row++) if (source.id(row) === id) return row;
  return -1;
}
