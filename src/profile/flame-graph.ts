/**
 * The flame graph page: one HTML file without any other, which shows the profile as a flame graph (callers above),
 * inverted (leaves above), or as a table, with search and zoom; or the difference of two profiles.
 */
import { escapeHtml, escapeScriptJson } from "../base/escape.ts";
import { ChunkWriter } from "./chunk-writer.ts";
import type { EncodeOptions } from "./encoders.ts";
import { pageScript } from "./flame-script.ts";
import { pageStyle } from "./flame-style.ts";
import { type FrameTree, frameTree, selfValues, totalValues } from "./frame-tree.ts";
import { profileLines } from "./legend.ts";
import type { Profile } from "./model.ts";

/** A page stays quick up to here; the smallest boxes beyond are left out, and the page says how many. */
const MAX_NODES = 100_000;
const MAX_TYPES = 8;

interface Values {
  readonly self: Float64Array;
  readonly total: Float64Array;
}

export interface FlameOptions extends EncodeOptions {
  /**
   * For a profile made by sideBySide(): sample type i of the profile before is number i + `before`. The page then
   * colours by growth.
   */
  readonly before?: number;
}

export function* flameGraphChunks(profile: Profile, type: number, options: FlameOptions = {}): Generator<Buffer> {
  const tree = frameTree(profile, "function");
  const typeCount = Math.min(MAX_TYPES, options.before ?? profile.sampleTypes.length);
  const shown = [type, ...Array.from({ length: typeCount }, (_, i) => i).filter((i) => i !== type)].slice(0, MAX_TYPES);
  const values = shown.map((index) => valuesOf(tree, profile, index));
  const before = options.before;
  const earlier = before === undefined ? [] : shown.map((index) => valuesOf(tree, profile, index + before));
  const keep = visibleNodes(tree, [...values, ...earlier]);
  const title = options.title ?? "procscope";

  const out = new ChunkWriter();
  out.text(pageHead(title));
  out.text(`{"title":${jsonOf(title)},"lines":${jsonOf(profileLines(profile, type, values[0]!.total[0]!))},`);
  out.text(`"types":${jsonOf(shown.map((index) => profile.sampleTypes[index]))},`);
  out.text(`"omitted":${tree.count - keep.length},`);
  writeFrames(out, tree, keep);
  yield out.take();
  options.onProgress?.(0.5);
  writeNodes(out, tree, keep);
  writeValues(out, "values", values, keep);
  writeValues(out, "before", earlier, keep);
  out.text('"end":0}');
  yield out.take();
  out.text(`</script>\n<script>${pageScript}</script>\n</body>\n</html>\n`);
  yield out.take();
}

function jsonOf(value: unknown): string {
  return escapeScriptJson(JSON.stringify(value));
}

function pageHead(title: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>${pageStyle}</style>
</head>
<body>
<header>
<h1>${escapeHtml(title)}</h1>
<select id="type" aria-label="Sample type"></select>
<span id="views" role="group" aria-label="View">
<button type="button" data-view="flame">Flame graph</button><button type="button" data-view="inverted">Inverted</button><button type="button" data-view="table">Table</button>
</span>
<input id="search" type="search" placeholder="Search (regular expression)" aria-label="Search">
<span id="matched"></span>
<button type="button" id="reset">Reset zoom</button>
</header>
<div id="about"></div>
<div id="trail"></div>
<main><div id="space"><canvas id="canvas"></canvas></div><div id="table"></div></main>
<div id="tip" hidden></div>
<noscript>This page needs JavaScript to draw the profile that it holds.</noscript>
<script type="application/json" id="profile">`;
}

function valuesOf(tree: FrameTree, profile: Profile, type: number): Values {
  const self = selfValues(tree, profile, type);
  return { self, total: totalValues(tree, self) };
}

/** The nodes that have a value, at most MAX_NODES of them, the largest; in order, so that parents precede children. */
function visibleNodes(tree: FrameTree, columns: readonly Values[]): Int32Array {
  const weight = new Float64Array(tree.count);
  for (const { total } of columns) {
    const scale = 1 / Math.max(1, Math.abs(total[0]!));
    for (let node = 0; node < tree.count; node++) {
      weight[node] = Math.max(weight[node]!, Math.abs(total[node]!) * scale);
    }
  }
  weight[0] = Number.POSITIVE_INFINITY;
  // A child must not outweigh its parent (differences can), or it would stand without it.
  for (let node = tree.count - 1; node > 0; node--) {
    const parent = tree.parent[node]!;
    weight[parent] = Math.max(weight[parent]!, weight[node]!);
  }
  const cutoff = tree.count > MAX_NODES ? Float64Array.from(weight).sort()[tree.count - MAX_NODES]! : 0;
  const kept = new Int32Array(tree.count);
  let count = 0;
  for (let node = 0; node < tree.count && count < 2 * MAX_NODES; node++) {
    if (weight[node]! > 0 && weight[node]! >= cutoff) kept[count++] = node;
  }
  return kept.subarray(0, count);
}

/** Names and files of the frames that are shown, renumbered. */
function writeFrames(out: ChunkWriter, tree: FrameTree, keep: Int32Array): void {
  const ids = frameIds(tree, keep);
  const files = new Map<string, number>();
  const list = (key: string, text: (frame: number) => string): void => {
    out.text(`"${key}":[`);
    let first = true;
    for (const frame of ids.keys()) {
      out.text(first ? text(frame) : `,${text(frame)}`);
      first = false;
    }
    out.text("],");
  };
  list("names", (frame) => jsonOf(tree.names[frame]));
  list("lines_", (frame) => String(tree.lines[frame]));
  list("files", (frame) => {
    const file = tree.files[frame]!;
    const index = files.get(file) ?? files.size;
    files.set(file, index);
    return String(index);
  });
  out.text(`"paths":${jsonOf([...files.keys()])},`);
}

function frameIds(tree: FrameTree, keep: Int32Array): Map<number, number> {
  const ids = new Map<number, number>();
  for (const node of keep) {
    const frame = tree.frame[node]!;
    if (node > 0 && !ids.has(frame)) ids.set(frame, ids.size);
  }
  return ids;
}

function writeNodes(out: ChunkWriter, tree: FrameTree, keep: Int32Array): void {
  const ids = frameIds(tree, keep);
  const numbers = new Int32Array(tree.count);
  keep.forEach((node, index) => {
    numbers[node] = index;
  });
  out.text('"parent":[');
  out.integers(keep.map((node) => (node === 0 ? -1 : numbers[tree.parent[node]!]!)));
  out.text('],"frame":[');
  out.integers(keep.map((node) => (node === 0 ? -1 : ids.get(tree.frame[node]!)!)));
  out.text("],");
}

function writeValues(out: ChunkWriter, key: string, columns: readonly Values[], keep: Int32Array): void {
  out.text(`"${key}":[`);
  columns.forEach(({ self, total }, index) => {
    out.text(`${index > 0 ? "," : ""}{"self":[`);
    out.integers(Float64Array.from(keep, (node) => Math.round(self[node]!)));
    out.text('],"total":[');
    out.integers(Float64Array.from(keep, (node) => Math.round(total[node]!)));
    out.text("]}");
  });
  out.text("],");
}
