/**
 * V8's sampling heap profile, as the inspector's HeapProfiler.stopSampling and `node --heap-prof` write it
 * (https://chromedevtools.github.io/devtools-protocol/tot/HeapProfiler/#type-SamplingHeapProfile).
 */
import { ProfileBuilder } from "./builder.ts";
import type { Profile, ValueType } from "./model.ts";
import { malformed } from "./protobuf.ts";
import { type FunctionMapper, V8Functions } from "./v8-functions.ts";

export interface V8HeapOptions {
  readonly mapper?: FunctionMapper | undefined;
  readonly timeNanos?: bigint | undefined;
  readonly durationNanos?: number | undefined;
  /** What stands in the profile's header, for instance what sampling cannot see. */
  readonly comments?: readonly string[] | undefined;
  /** The program, for the header of reports. */
  readonly program?: string | undefined;
  /** The average number of bytes between samples, where it is known. */
  readonly period?: number | undefined;
}

const space: ValueType = { type: "inuse_space", unit: "bytes" };

export function isV8Heap(json: unknown): boolean {
  return isObject(json) && isObject(json["head"]) && "selfSize" in json["head"];
}

/** Live bytes by the stack that allocated them, estimated by V8 from its samples. Throws MALFORMED. */
export function decodeV8Heap(json: unknown, options: V8HeapOptions = {}): Profile {
  if (!isObject(json) || !isV8Heap(json)) throw malformed("no head; is it a V8 heap profile?");
  const builder = new ProfileBuilder({
    sampleTypes: [space],
    periodType: { type: "space", unit: "bytes" },
    period: options.period ?? 0,
    timeNanos: options.timeNanos ?? 0n,
    durationNanos: options.durationNanos ?? 0,
    comments: options.comments ?? [],
  });
  if (options.program) builder.mapping({ file: options.program, hasFunctions: true, hasFilenames: true });
  const functions = new V8Functions(builder, options.mapper);
  const nodes = flatten(json["head"] as Record<string, unknown>);
  for (const { node } of nodes) functions.see(node["callFrame"]);
  functions.settle();
  const stacks = new Int32Array(nodes.length);
  nodes.forEach(({ node, parent }, index) => {
    const caller = parent < 0 ? 0 : stacks[parent]!;
    const frame = node["callFrame"];
    stacks[index] = functions.isRoot(frame) ? caller : builder.push(caller, functions.location(frame));
    const size = numberOf(node["selfSize"]);
    if (size !== 0) builder.add(stacks[index]!, [size]);
  });
  return builder.finish();
}

/** Parents before children, without recursion: a file may nest deeper than our stack. */
function flatten(head: Record<string, unknown>): { node: Record<string, unknown>; parent: number }[] {
  const all = [{ node: head, parent: -1 }];
  for (let at = 0; at < all.length; at++) {
    const children = all[at]!.node["children"];
    if (!Array.isArray(children)) continue;
    for (const child of children) {
      if (!isObject(child)) throw malformed("a node is not an object");
      all.push({ node: child, parent: at });
    }
  }
  return all;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function numberOf(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw malformed("a number is missing");
  return value;
}
