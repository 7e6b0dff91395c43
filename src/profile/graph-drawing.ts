/** Draws call graphs: Graphviz (as WebAssembly, so that none needs to be installed) lays them out. */
import type { Graphviz } from "@hpcc-js/wasm-graphviz";
import { dotOf } from "./dot.ts";
import type { Profile } from "./model.ts";

let loaded: Promise<Graphviz> | undefined;

/** Loading takes tens of milliseconds and happens once. */
export async function graphviz(): Promise<Graphviz> {
  loaded ??= import("@hpcc-js/wasm-graphviz").then((module) => module.Graphviz.load());
  return loaded;
}

/** The call graph as an SVG document that scales with its window. Graphviz escapes all text. */
export async function graphSvg(profile: Profile, type: number, title?: string): Promise<string> {
  const viz = await graphviz();
  const svg = viz.layout(dotOf(profile, type, { title }), "svg", "dot");
  // Text is measured as Helvetica; where a machine has none, the browser's own sans-serif is nearest.
  return svg.replace(/font-family="Helvetica[^"]*"/g, 'font-family="Helvetica,Arial,sans-serif"');
}
