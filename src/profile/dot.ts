/** A call graph in Graphviz's language, drawn as `go tool pprof` draws it: see {@link callGraph} for what is shown. */
import { basename } from "node:path";
import { type CallGraph, callGraph, type GraphEdge, type GraphNode } from "./call-graph.ts";
import { measureOf, profileLines, shownLines } from "./legend.ts";
import { type Measure, percentage } from "./measure.ts";
import type { Profile } from "./model.ts";

const BASE_FONT = 8;
const FONT_GROWTH = 16;
const MAX_NAME = 120;

export interface DotOptions {
  readonly title?: string | undefined;
  /** How a character is written that the drawing's font lacks. */
  readonly text?: (text: string) => string;
}

export function dotOf(profile: Profile, type: number, options: DotOptions = {}): string {
  const graph = callGraph(profile, type);
  return new DotWriter(profile, type, graph, options).write();
}

class DotWriter {
  private readonly measure: Measure;
  private readonly graph: CallGraph;
  private readonly legend: string[];
  private readonly text: (text: string) => string;
  private readonly names = new Map<string, string>();

  constructor(profile: Profile, type: number, graph: CallGraph, options: DotOptions) {
    this.graph = graph;
    this.measure = measureOf(profile, type, graph);
    this.text = options.text ?? ((text) => text);
    this.legend = [
      ...profileLines(profile, type, graph.total, { title: options.title, measure: this.measure }),
      "",
      ...shownLines(graph, this.measure),
    ];
  }

  write(): string {
    const { graph } = this;
    graph.nodes.forEach((node, index) => {
      this.names.set(String(node.frame), `N${index + 1}`);
    });
    const maxFlat = graph.nodes.reduce((most, node) => Math.max(most, Math.abs(node.flat)), 0);
    const edges = graph.nodes.flatMap((node) => [...node.outgoing.values()].sort((a, b) => b.value - a.value));
    return [
      'digraph "profile" {',
      'graph [fontname="Helvetica"]',
      'node [style=filled fillcolor="#f8f8f8" fontname="Helvetica"]',
      'edge [fontname="Helvetica"]',
      `subgraph cluster_L { "legend" [shape=box fontsize=16 label=${this.leftAligned(this.legend)}] }`,
      ...graph.nodes.map((node) => this.node(node, maxFlat)),
      ...edges.map((edge) => this.edge(edge)),
      "}",
      "",
    ].join("\n");
  }

  private node(node: GraphNode, maxFlat: number): string {
    const { total } = this.graph;
    const flat = `${this.measure.format(node.flat)} (${percentage(node.flat, total)})`;
    const cumulative = `of ${this.measure.format(node.cumulative)} (${percentage(node.cumulative, total)})`;
    const label = [...nameLines(node.name, node.file), node.flat !== 0 ? flat : "0"];
    if (node.flat === 0) label[label.length - 1] = node.cumulative === 0 ? "0" : `0 ${cumulative}`;
    else if (node.cumulative !== node.flat) label.push(cumulative);
    const growth = maxFlat > 0 ? Math.ceil(FONT_GROWTH * Math.sqrt(Math.abs(node.flat) / maxFlat)) : 0;
    const share = total === 0 ? 0 : node.cumulative / Math.abs(total);
    const colours = `color="${shareColour(share, false)}" fillcolor="${shareColour(share, true)}"`;
    const name = this.names.get(String(node.frame))!;
    const tooltip = this.quoted([`${node.name} (${this.measure.format(node.cumulative)})`]);
    return `${name} [label=${this.quoted(label)} id="node${name.slice(1)}" fontsize=${BASE_FONT + growth} shape=box tooltip=${tooltip} ${colours}]`;
  }

  private edge(edge: GraphEdge): string {
    const { total } = this.graph;
    const share = total === 0 ? 0 : edge.value / Math.abs(total);
    const weight = 1 + Math.min(100, Math.floor(Math.abs(share) * 100));
    const width = 1 + Math.min(5, Math.floor(Math.abs(share) * 5));
    const attributes = [
      `label=${this.quoted([` ${this.measure.format(edge.value)}`, ...(edge.inlined ? [" (inline)"] : [])])}`,
    ];
    if (weight > 1) attributes.push(`weight=${weight}`);
    if (width > 1) attributes.push(`penwidth=${width}`);
    attributes.push(`color="${shareColour(share, false)}"`);
    if (edge.residual) attributes.push('style="dotted"');
    return `${this.names.get(String(edge.from))} -> ${this.names.get(String(edge.to))} [${attributes.join(" ")}]`;
  }

  private quoted(lines: readonly string[]): string {
    return `"${lines.map((line) => this.escaped(line)).join("\\n")}"`;
  }

  private leftAligned(lines: readonly string[]): string {
    return `"${lines.map((line) => `${this.escaped(line)}\\l`).join("")}"`;
  }

  private escaped(line: string): string {
    const clean = line.replace(/[\x00-\x1f\x7f-\x9f]/g, " ");
    return this.text(clean).replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/&/g, "&amp;");
  }
}

/**
 * A function's name on the lines of its box. Go's, `path/pkg.(*Type).Method`, go without the path and break at the
 * dots, as pprof's do; others stay whole, with their file below.
 */
export function nameLines(name: string, file: string): string[] {
  if (/\.(go|s)$/.test(file) || (file === "" && /^[\w./%~-]+\.[\w(]/.test(name))) {
    return splitAtDots(withoutPath(name)).map(clip);
  }
  const base = basename(file);
  return file === "" || name.includes(base) ? [clip(name)] : [clip(name), clip(base)];
}

/** `a/b/pkg.F[c/d.T]` to `pkg.F[c/d.T]`. */
function withoutPath(name: string): string {
  const bracket = name.search(/[[(]/);
  const slash = name.lastIndexOf("/", bracket < 0 ? name.length : bracket);
  return name.slice(slash + 1);
}

/** At the dots that stand outside brackets; `[...]` of a generic function stays in one piece. */
function splitAtDots(name: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < name.length; i++) {
    const char = name[i]!;
    if (char === "[" || char === "(") depth++;
    else if (char === "]" || char === ")") depth--;
    else if (char === "." && depth === 0) {
      parts.push(name.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(name.slice(start));
  return parts.filter((part) => part !== "");
}

function clip(text: string): string {
  return text.length > MAX_NAME ? `${text.slice(0, MAX_NAME - 1)}…` : text;
}

/**
 * The colour of a share, -1 … 1: from grey over yellow to red, below zero to green. Shares are shifted away from grey
 * so that small ones can be told apart; backgrounds are pale.
 */
export function shareColour(share: number, background: boolean): string {
  const shift = 0.7;
  const value = background ? 0.93 : 0.7;
  let saturation = background ? 0.1 : 1;
  const score = Math.max(-1, Math.min(1, share));
  if (Math.abs(score) < 0.2) saturation *= Math.abs(score) / 0.2;
  const shifted = Math.sign(score) * Math.abs(score) ** (1 - shift);
  const red = shifted < 0 ? value * (1 + saturation * shifted) : value;
  const green = shifted < 0 ? value : value * (1 - saturation * shifted);
  const blue = value * (1 - saturation);
  return `#${[red, green, blue]
    .map((part) =>
      Math.floor(part * 255)
        .toString(16)
        .padStart(2, "0"),
    )
    .join("")}`;
}
