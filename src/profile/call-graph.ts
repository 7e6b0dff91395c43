/**
 * A profile as a graph of functions, trimmed to what a page can show by the rules of `go tool pprof`: functions below
 * half a percent are dropped, the 80 most telling are kept, edges below a tenth of a percent are dropped; an edge over
 * dropped functions is a residual one, and goes where another way leads to the same place.
 */
import { compareText } from "../base/sorted.ts";
import { type FrameTree, frameTree, selfValues, totalValues } from "./frame-tree.ts";
import type { Profile } from "./model.ts";

export interface GraphNode {
  readonly frame: number;
  readonly name: string;
  readonly file: string;
  flat: number;
  cumulative: number;
  readonly incoming: Map<number, GraphEdge>;
  readonly outgoing: Map<number, GraphEdge>;
}

export interface GraphEdge {
  readonly from: number;
  readonly to: number;
  value: number;
  /** Over functions that are not shown. */
  residual: boolean;
  /** Every call was inlined. */
  inlined: boolean;
}

export interface CallGraph {
  readonly total: number;
  readonly nodes: readonly GraphNode[];
  /** Functions before any was dropped. */
  readonly allNodes: number;
  readonly droppedNodes: number;
  readonly nodeCutoff: number;
  readonly droppedEdges: number;
  readonly edgeCutoff: number;
  /** Functions above the cutoff of which `nodes` are the most telling. */
  readonly candidates: number;
}

export interface GraphOptions {
  readonly nodeCount?: number;
  readonly nodeFraction?: number;
  readonly edgeFraction?: number;
}

export function callGraph(profile: Profile, type: number, options: GraphOptions = {}): CallGraph {
  const tree = frameTree(profile, "name");
  const self = selfValues(tree, profile, type);
  const sum = self.reduce((a, b) => a + b, 0);
  const total = sum !== 0 ? sum : self.reduce((a, b) => a + Math.abs(b), 0);
  // Cutoffs and scores are whole numbers, as pprof has them: which are equal decides what stays.
  const nodeCutoff = Math.abs(Math.trunc(total * (options.nodeFraction ?? 0.005)));
  const edgeCutoff = Math.abs(Math.trunc(total * (options.edgeFraction ?? 0.001)));

  const all = buildNodes(tree, self, undefined);
  const kept = [...all.values()].filter((node) => Math.abs(node.cumulative) >= nodeCutoff && node.cumulative !== 0);
  let nodes = sortedByEntropy(buildNodes(tree, self, new Set(kept.map((node) => node.frame))));
  const limit = options.nodeCount ?? 80;
  if (nodes.length > limit) {
    const telling = new Set(nodes.slice(0, limit).map((node) => node.frame));
    nodes = sortedByEntropy(buildNodes(tree, self, telling));
  }
  const droppedEdges = trimEdges(nodes, edgeCutoff);
  removeRedundantEdges(nodes);
  const trimmed = { nodeCutoff, droppedEdges, edgeCutoff, droppedNodes: all.size - kept.length };
  return { total, nodes, allNodes: all.size, candidates: kept.length, ...trimmed };
}

/**
 * Nodes and edges of all functions, or of those in `shown`. One walk over the tree's nodes: each carries what passes
 * through it, so what counts twice in a recursive stack is told by whether the frame or edge is on the path above.
 */
function buildNodes(tree: FrameTree, self: Float64Array, shown: ReadonlySet<number> | undefined) {
  const nodes = new Map<number, GraphNode>();
  const totals = totalValues(tree, self);
  /** For each tree node: the nearest shown node at or above it, itself included (0: none). */
  const nearest = new Int32Array(tree.count);
  const residual = new Uint8Array(tree.count);
  for (let at = 1; at < tree.count; at++) {
    const above = tree.parent[at]!;
    const frame = tree.frame[at]!;
    if (shown && !shown.has(frame)) {
      nearest[at] = nearest[above]!;
      residual[at] = 1;
      continue;
    }
    nearest[at] = at;
    const node = nodeOf(nodes, tree, frame);
    node.flat += self[at]!;
    if (!frameAbove(tree, nearest, above, frame)) node.cumulative += totals[at]!;
    const caller = nearest[above]!;
    // Samples without a value say nothing of who calls whom.
    if (caller === 0 || tree.frame[caller] === frame || totals[at] === 0) continue;
    if (!edgeAbove(tree, nearest, caller, tree.frame[caller]!, frame)) {
      const edge = edgeOf(nodeOf(nodes, tree, tree.frame[caller]!), node);
      edge.value += totals[at]!;
      if (residual[above] === 1) edge.residual = true;
      if (tree.inlined[at] === 0) edge.inlined = false;
    }
  }
  for (const [frame, node] of nodes) if (node.cumulative === 0 && node.flat === 0) nodes.delete(frame);
  return nodes;
}

/** Whether the frame already stands in the stack at or above `at`. */
function frameAbove(tree: FrameTree, nearest: Int32Array, at: number, frame: number): boolean {
  for (let node = nearest[at]!; node > 0; node = nearest[tree.parent[node]!]!)
    if (tree.frame[node] === frame) return true;
  return false;
}

/** Whether the stack above already has the edge: a recursion counts once. */
function edgeAbove(tree: FrameTree, nearest: Int32Array, from: number, caller: number, frame: number): boolean {
  for (let node = from; node > 0; ) {
    const above = nearest[tree.parent[node]!]!;
    if (tree.frame[node] === frame && above > 0 && tree.frame[above] === caller) return true;
    node = above;
  }
  return false;
}

function nodeOf(nodes: Map<number, GraphNode>, tree: FrameTree, frame: number): GraphNode {
  let node = nodes.get(frame);
  if (!node) {
    const { [frame]: name = "" } = tree.names;
    const edges = { incoming: new Map<number, GraphEdge>(), outgoing: new Map<number, GraphEdge>() };
    node = { frame, name, file: tree.files[frame]!, flat: 0, cumulative: 0, ...edges };
    nodes.set(frame, node);
  }
  return node;
}

function edgeOf(from: GraphNode, to: GraphNode): GraphEdge {
  let edge = from.outgoing.get(to.frame);
  if (!edge) {
    edge = { from: from.frame, to: to.frame, value: 0, residual: false, inlined: true };
    from.outgoing.set(to.frame, edge);
    to.incoming.set(from.frame, edge);
  }
  return edge;
}

/** Functions where ways join and part say more than links of a chain: their weight times the entropy of their edges. */
function sortedByEntropy(nodes: Map<number, GraphNode>): GraphNode[] {
  const score = new Map([...nodes.values()].map((node) => [node, entropyScore(node)]));
  return [...nodes.values()].sort(
    (a, b) => Math.abs(score.get(b)!) - Math.abs(score.get(a)!) || compareText(a.name, b.name),
  );
}

function entropyScore(node: GraphNode): number {
  const entering = node.incoming.size === 0 ? 1 : edgeEntropy(node.incoming, 0);
  const leaving = node.outgoing.size === 0 ? 1 : edgeEntropy(node.outgoing, node.flat);
  return Math.trunc((entering + leaving) * node.cumulative) + node.flat;
}

function edgeEntropy(edges: ReadonlyMap<number, GraphEdge>, self: number): number {
  let total = Math.abs(self);
  for (const { value } of edges.values()) total += Math.abs(value);
  if (total === 0) return 0;
  const part = (value: number): number => {
    const share = Math.abs(value) / total;
    return share === 0 ? 0 : -share * Math.log2(share);
  };
  let score = part(self);
  for (const { value } of edges.values()) score += part(value);
  return score;
}

function trimEdges(nodes: readonly GraphNode[], cutoff: number): number {
  let dropped = 0;
  const byFrame = new Map(nodes.map((node) => [node.frame, node]));
  for (const node of nodes) {
    for (const [from, edge] of node.incoming) {
      if (Math.abs(edge.value) >= cutoff) continue;
      node.incoming.delete(from);
      byFrame.get(from)?.outgoing.delete(node.frame);
      dropped++;
    }
  }
  return dropped;
}

/**
 * Residual edges, lightest first, that only repeat a way which the graph shows; never one heavier than a real edge.
 * Among edges of one weight the last caller's by name comes first.
 */
function removeRedundantEdges(nodes: readonly GraphNode[]): void {
  const byFrame = new Map(nodes.map((node) => [node.frame, node]));
  for (const node of nodes.toReversed()) {
    const callerName = (edge: GraphEdge): string => byFrame.get(edge.from)!.name;
    const lightestFirst = [...node.incoming.values()].sort(
      (a, b) => Math.abs(a.value) - Math.abs(b.value) || compareText(callerName(b), callerName(a)),
    );
    for (const edge of lightestFirst) {
      if (!edge.residual) break;
      if (!hasOtherWay(byFrame, edge)) continue;
      node.incoming.delete(edge.from);
      byFrame.get(edge.from)?.outgoing.delete(node.frame);
    }
  }
}

function hasOtherWay(byFrame: ReadonlyMap<number, GraphNode>, edge: GraphEdge): boolean {
  const seen = new Set([edge.to]);
  const queue = [edge.to];
  for (let frame = queue.pop(); frame !== undefined; frame = queue.pop()) {
    for (const incoming of byFrame.get(frame)?.incoming.values() ?? []) {
      if (incoming === edge || seen.has(incoming.from)) continue;
      if (incoming.from === edge.from) return true;
      seen.add(incoming.from);
      queue.push(incoming.from);
    }
  }
  return false;
}
