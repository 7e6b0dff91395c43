import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ProfileBuilder } from "../../src/profile/builder.ts";
import { callGraph } from "../../src/profile/call-graph.ts";
import { dotOf, nameLines, shareColour } from "../../src/profile/dot.ts";
import type { Profile } from "../../src/profile/model.ts";
import { encodePprof } from "../../src/profile/pprof.ts";
import { topText } from "../../src/profile/top.ts";
import { goProfile, load, missing, nodeProfile, scratch } from "./fixtures.ts";

const noGo = missing("go");

interface Drawn {
  readonly nodes: string[];
  readonly edges: string[];
}

/** Nodes and edges of a DOT file, ours or that of go tool pprof, by full name from the tooltip; without layout. */
function drawn(dot: string): Drawn {
  const names = new Map<string, string>();
  const nodes: string[] = [];
  const edges: string[] = [];
  for (const line of dot.split("\n")) {
    const node =
      /^(N\d+) \[label="(.*?)" id="node\d+" fontsize=(\d+) shape=box tooltip="(.*?) \((.*?)\)" color="(#\w+)" fillcolor="(#\w+)"\]/.exec(
        line,
      );
    if (node) {
      const [, id, label, size, name, cumulative, ...colours] = node;
      names.set(id!, name!.replaceAll("\\\\", "\\"));
      const flat = /(?:^|\\n)(0|[\d.]+\w* \([\d.]+%\))(?:\\n| of|$)/.exec(label!)?.[1];
      nodes.push([names.get(id!), cumulative, flat, size, ...colours].join(" | "));
    }
  }
  for (const line of dot.split("\n")) {
    const edge = /^(N\d+) -> (N\d+) \[label="(.*?)"(.*)\]/.exec(line);
    if (!edge) continue;
    const [, from, to, label, rest] = edge;
    const attribute = (name: string): string => new RegExp(`${name}="?([#\\w]+)`).exec(rest!)?.[1] ?? "";
    const value = label!.replace(/\\n +/, " ").trim();
    const look = ["weight", "penwidth", "color", "style"].map(attribute);
    edges.push([names.get(from!), names.get(to!), value, ...look].join(" | "));
  }
  return { nodes: nodes.sort(), edges: edges.sort() };
}

function byPprof(path: string, ...flags: string[]): string {
  return execFileSync("go", ["tool", "pprof", ...flags, path], { encoding: "utf8", stdio: "pipe" });
}

function tableOf(text: string): string[] {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => line.startsWith("Showing nodes"));
  return lines.slice(start).map((line) => line.trim().replace(/\s+/g, " "));
}

for (const kind of ["cpu", "heap", "node"] as const) {
  const file = (): string => {
    if (kind !== "node") return goProfile(kind);
    const path = join(scratch, "node.pb.gz");
    writeFileSync(path, encodePprof(load(nodeProfile())));
    return path;
  };

  test(`the call graph of a ${kind} profile has the nodes, edges, shares and colours of go tool pprof`, {
    skip: noGo,
  }, () => {
    const profile = load(file());
    const ours = drawn(dotOf(profile, profile.defaultType));
    const theirs = drawn(byPprof(file(), "-dot"));
    assert.ok(theirs.nodes.length > 0 && theirs.edges.length > 0, "pprof drew something");
    assert.deepEqual(ours.nodes, theirs.nodes);
    assert.deepEqual(ours.edges, theirs.edges);
  });

  test(`the table of a ${kind} profile is that of go tool pprof -top`, { skip: noGo }, () => {
    const profile = load(file());
    assert.deepEqual(tableOf(topText(profile, profile.defaultType)), tableOf(byPprof(file(), "-top")));
  });
}

/** A profile of few functions and small values: many weights, scores and cutoffs are equal, and ties decide. */
function tiedProfile(seed: number): Profile {
  let state = seed;
  const below = (n: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const builder = new ProfileBuilder({ sampleTypes: [{ type: "samples", unit: "count" }] });
  const functions = Array.from({ length: 20 + below(150) }, (_, i) =>
    builder.location(builder.function(`f${(i * 7919) % 1000}`)),
  );
  let total = 0;
  // Callers stand before what they call but for some recursion, so that many ways lead to one place.
  for (let i = 100 + below(300); i > 0; i--) {
    const stack: number[] = [];
    for (let at = below(4); at < functions.length && stack.length < 12; at += 1 + below(functions.length / 4)) {
      stack.unshift(functions[at]!);
      if (below(8) === 0) at = Math.max(0, at - 5);
    }
    const value = below(6);
    total += value;
    builder.add(builder.stack(stack), [value]);
  }
  // Of a total that is a multiple of 640 many shares lie exactly between two decimals.
  builder.add(builder.stack(functions.slice(0, 1)), [640 - (total % 640)]);
  return builder.finish();
}

test("twelve made-up profiles full of ties are drawn and listed as go tool pprof does", { skip: noGo }, () => {
  for (let seed = 1; seed <= 12; seed++) {
    const path = join(scratch, `tied-${seed}.pb.gz`);
    writeFileSync(path, encodePprof(tiedProfile(seed)));
    const profile = load(path);
    const ours = drawn(dotOf(profile, profile.defaultType));
    const theirs = drawn(byPprof(path, "-dot"));
    assert.deepEqual(ours, theirs, `seed ${seed}`);
    assert.deepEqual(tableOf(topText(profile, profile.defaultType)), tableOf(byPprof(path, "-top")), `seed ${seed}`);
    assert.ok(ours.edges.length > 20, `seed ${seed} has edges`);
  }
});

test("what is trimmed is said: nodes, edges, and the most telling of many", () => {
  const builder = new ProfileBuilder({ sampleTypes: [{ type: "samples", unit: "count" }] });
  const at = (name: string): number => builder.location(builder.function(name));
  for (let i = 0; i < 120; i++) builder.add(builder.stack([at(`leaf${i}`), at(`middle${i % 10}`), at("main")]), [100]);
  for (let i = 0; i < 30; i++) builder.add(builder.stack([at(`rare${i}`), at("main")]), [1]);
  const profile = builder.finish();
  const graph = callGraph(profile, 0);
  assert.equal(graph.nodes.length, 80);
  assert.equal(graph.droppedNodes, 30);
  assert.equal(graph.allNodes, 161);
  const dot = dotOf(profile, 0);
  assert.match(dot, /Dropped 30 nodes \(cum <= 60\)/);
  assert.match(dot, /Showing top 80 nodes out of 131/);
});

test("a recursive function counts once a stack, and an edge over dropped functions is dotted", () => {
  const builder = new ProfileBuilder({ sampleTypes: [{ type: "samples", unit: "count" }] });
  const at = (name: string): number => builder.location(builder.function(name));
  builder.add(builder.stack([at("f"), at("g"), at("f"), at("g"), at("f"), at("main")]), [1000]);
  for (let i = 0; i < 300; i++) builder.add(builder.stack([at("hot"), at(`thin${i}`), at("main")]), [1]);
  const graph = callGraph(builder.finish(), 0);
  const byName = new Map(graph.nodes.map((node) => [node.name, node]));
  assert.equal(byName.get("f")?.cumulative, 1000);
  assert.equal(byName.get("f")?.flat, 1000);
  const edge = [...byName.get("main")!.outgoing.values()].find((one) => one.to === byName.get("hot")!.frame);
  assert.deepEqual([edge?.value, edge?.residual], [300, true]);
});

test("names of Go break at their dots, names of JavaScript stay whole", () => {
  assert.deepEqual(nameLines("example.com/a/pkg.(*T).Method", "/src/a.go"), ["pkg", "(*T)", "Method"]);
  assert.deepEqual(nameLines("slices.Sort[go.shape.[]int,a/b.T]", "/go/sort.go"), [
    "slices",
    "Sort[go.shape.[]int,a/b.T]",
  ]);
  assert.deepEqual(nameLines("Module._extensions..js", "node:internal/modules/cjs/loader"), [
    "Module._extensions..js",
    "loader",
  ]);
  assert.deepEqual(nameLines("(anonymous) app.js:3", "/srv/app.js"), ["(anonymous) app.js:3"]);
});

test("a share's colour goes from grey to red, a negative one to green", () => {
  assert.equal(shareColour(0, true), "#ededed");
  assert.equal(shareColour(1, false), "#b20000");
  assert.equal(shareColour(-1, false), "#00b200");
});
