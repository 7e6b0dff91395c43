/** Speedscope's file format (https://www.speedscope.app/file-format-schema.json), one sampled profile. */
import { Int32Column } from "../base/columns.ts";
import { ChunkWriter } from "./chunk-writer.ts";
import { type FrameTree, frameTree, selfValues } from "./frame-tree.ts";
import type { Profile } from "./model.ts";

const units = new Set(["bytes", "microseconds", "milliseconds", "nanoseconds", "seconds"]);
const COMMA = 44;

interface Rows {
  readonly count: number;
  node(row: number): number;
  value(row: number): number;
}

/** Samples in time order where the profile has times, otherwise each stack once with its sum. */
export function* speedscopeChunks(
  profile: Profile,
  type: number,
  title = "procscope",
  onProgress: (part: number) => void = () => {},
): Generator<Buffer> {
  const tree = frameTree(profile, "function");
  const rows = profile.samples.time ? timedRows(profile, tree, type) : summedRows(profile, tree, type);
  const { unit, type: name } = profile.sampleTypes[type]!;
  const out = new ChunkWriter();
  out.text('{"$schema":"https://www.speedscope.app/file-format-schema.json","exporter":"procscope",');
  out.text(`"name":${JSON.stringify(title)},"activeProfileIndex":0,"shared":{"frames":[`);
  for (let i = 0; i < tree.names.length; i++) {
    out.text((i > 0 ? "," : "") + JSON.stringify(frameOf(tree, i)));
    if (out.full) yield out.take();
  }
  let sum = 0;
  for (let row = 0; row < rows.count; row++) sum += rows.value(row);
  out.text(`]},"profiles":[{"type":"sampled","name":${JSON.stringify(`${title} (${name})`)},`);
  out.text(`"unit":"${units.has(unit) ? unit : "none"}","startValue":0,"endValue":${sum},"samples":[`);
  const path = new Int32Column();
  for (let row = 0; row < rows.count; row++) {
    path.length = 0;
    for (let at = rows.node(row); at > 0; at = tree.parent[at]!) path.push(tree.frame[at]!);
    path.view().reverse();
    out.text(row > 0 ? ",[" : "[");
    out.integers(path.data, path.length);
    out.byte(93);
    if (out.full) {
      yield out.take();
      onProgress(row / rows.count);
    }
  }
  out.text('],"weights":[');
  for (let row = 0; row < rows.count; row++) {
    if (row > 0) out.byte(COMMA);
    out.integer(rows.value(row));
    if (out.full) yield out.take();
  }
  out.text("]}]}\n");
  yield out.take();
}

function frameOf(tree: FrameTree, id: number): Record<string, unknown> {
  return {
    name: tree.names[id],
    ...(tree.files[id] && { file: tree.files[id] }),
    ...(tree.lines[id] && { line: tree.lines[id] }),
    ...(tree.columns[id] && { col: tree.columns[id] }),
  };
}

/** Speedscope takes weights of 0 and more: a difference's negative rows are left out. */
function timedRows(profile: Profile, tree: FrameTree, type: number): Rows {
  const { stack, count, values } = profile.samples;
  const column = values[type]!;
  return {
    count,
    node: (row) => tree.nodeOfStack[stack[row]!]!,
    value: (row) => Math.max(0, Math.round(column[row]!)),
  };
}

function summedRows(profile: Profile, tree: FrameTree, type: number): Rows {
  const self = selfValues(tree, profile, type);
  const nodes = new Int32Column();
  for (let node = 0; node < tree.count; node++) if (Math.round(self[node]!) > 0) nodes.push(node);
  return {
    count: nodes.length,
    node: (row) => nodes.data[row]!,
    value: (row) => Math.round(self[nodes.data[row]!]!),
  };
}
