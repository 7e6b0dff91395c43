import type { LogicalFrame } from "../go/code-table.ts";
import type { GoroutineReader } from "../go/goroutine-reader.ts";
import type { GoroutineTable } from "../go/goroutine-table.ts";
import { LabelReader, type Labels } from "../go/labels.ts";
import { sourceFrames } from "../go/source-frames.ts";
import { startFunction } from "../go/start-function.ts";
import { type DumpOptions, type DumpTally, eachPart } from "./dump.ts";

/** Goroutines with the same stack and labels. */
export interface CountedStack {
  count: number;
  /** Innermost first, runtime.goexit included. One that has none: what it is instead of its innermost frame, then its start function. */
  readonly frames: readonly StackEntry[];
  readonly labels: Labels | undefined;
}

/** A frame, or a word in place of one. */
export type StackEntry = Pick<LogicalFrame, "function" | "file" | "line" | "pc" | "entry">;

const noLabels: Labels = new Map();

/** All goroutines by stack and labels, as runtime/pprof counts them. */
export function countStacks(reader: GoroutineReader, options: DumpOptions, tally: DumpTally): CountedStack[] {
  const counter = new StackCounter(reader);
  const parts = eachPart(reader, options, tally, {
    stack: (table, row, node) => counter.add(table, row, node),
    noStack: (table, row, why) => counter.addWithout(table, row, why),
  });
  for (const _ of parts) counter.endPart();
  return counter.stacks;
}

class StackCounter {
  readonly stacks: CountedStack[] = [];
  private readonly reader: GoroutineReader;
  private readonly labels: LabelReader;
  /** By frames and labels as text: holds when nodes no longer do. */
  private readonly byText = new Map<string, CountedStack>();
  private byNode = new Map<Labels, Map<number, CountedStack>>();
  private tree: object | undefined;

  constructor(reader: GoroutineReader) {
    this.reader = reader;
    this.labels = new LabelReader(reader.runtime);
  }

  add(table: GoroutineTable, row: number, node: number): void {
    const labels = this.labels.read(table.labels[row]!);
    if (this.tree !== this.reader.tree) {
      this.tree = this.reader.tree;
      this.byNode = new Map();
    }
    const nodes = this.byNode.get(labels ?? noLabels) ?? new Map<number, CountedStack>();
    this.byNode.set(labels ?? noLabels, nodes);
    let stack = nodes.get(node);
    if (stack === undefined) {
      stack = this.intern(sourceFrames(this.reader.tree, this.reader.code, node, true), labels);
      nodes.set(node, stack);
    }
    stack.count++;
  }

  addWithout(table: GoroutineTable, row: number, why: "running" | "inconsistent"): void {
    const start = startFunction(this.reader.runtime, this.reader.code, table.startPc[row]!, []);
    const word = why === "running" ? "[running; stack unavailable]" : "[kept changing; stack unavailable]";
    const frames: StackEntry[] = [{ function: word, file: "", line: 0, pc: 0, entry: 0 }];
    if (start) frames.push(start);
    this.intern(frames, this.labels.read(table.labels[row]!)).count++;
  }

  /** Labels differ in identity for each request: what was told apart by it is not needed any more. */
  endPart(): void {
    if (this.byNode.size > 4096) this.byNode = new Map();
  }

  private intern(frames: readonly StackEntry[], labels: Labels | undefined): CountedStack {
    const key = `${frames.map((frame) => `${frame.pc} ${frame.function}`).join("\n")}\0${labels ? JSON.stringify([...labels]) : ""}`;
    let stack = this.byText.get(key);
    if (stack === undefined) {
      stack = { count: 0, frames, labels };
      this.byText.set(key, stack);
      this.stacks.push(stack);
    }
    return stack;
  }
}
