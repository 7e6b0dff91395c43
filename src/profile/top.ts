/** The text table of `go tool pprof -top`: functions by what they spent themselves, with what they called beside it. */
import { escapeTerminal } from "../base/escape.ts";
import { compareText } from "../base/sorted.ts";
import { type CallGraph, callGraph, type GraphNode } from "./call-graph.ts";
import { measureOf, profileLines, shownLines } from "./legend.ts";
import { percentage } from "./measure.ts";
import type { Profile } from "./model.ts";

export interface TopOptions {
  readonly title?: string | undefined;
  /** How many functions; all by default. */
  readonly count?: number | undefined;
  /** Order by cumulative value. */
  readonly cumulative?: boolean | undefined;
}

/** Functions in the order of the table. */
export function topNodes(graph: CallGraph, cumulative = false): GraphNode[] {
  const key = (node: GraphNode): number => Math.abs(cumulative ? node.cumulative : node.flat);
  return [...graph.nodes].sort((a, b) => key(b) - key(a) || compareText(a.name, b.name));
}

export function topText(profile: Profile, type: number, options: TopOptions = {}): string {
  const graph = callGraph(profile, type, { nodeCount: Number.POSITIVE_INFINITY });
  const nodes = topNodes(graph, options.cumulative).slice(0, options.count);
  const measure = measureOf(profile, type, graph);
  const lines = profileLines(profile, type, graph.total, { title: options.title, measure });
  lines.push(...shownLines({ ...graph, nodes, droppedEdges: 0 }, measure));
  lines.push("      flat  flat%   sum%        cum   cum%");
  let sum = 0;
  for (const node of nodes) {
    sum += node.flat;
    const cells = [
      measure.format(node.flat).padStart(10),
      percentage(node.flat, graph.total).padStart(6),
      percentage(sum, graph.total).padStart(6),
      measure.format(node.cumulative).padStart(10),
      percentage(node.cumulative, graph.total).padStart(6),
    ];
    lines.push(`${cells[0]} ${cells[1]} ${cells[2]} ${cells[3]} ${cells[4]}  ${node.name}${inlining(node)}`);
  }
  return `${lines.map((line) => escapeTerminal(line)).join("\n")}\n`;
}

/** What pprof writes behind the name of a function whose calls were inlined. */
function inlining(node: GraphNode): string {
  const edges = [...node.incoming.values()];
  if (!edges.some((edge) => edge.inlined)) return "";
  return edges.every((edge) => edge.inlined) ? " (inline)" : " (partial-inline)";
}
