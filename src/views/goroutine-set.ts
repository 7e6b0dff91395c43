/** Goroutines in memory as columns, with stacks, places and labels kept once: what reading a dump gives. */
import { Float64Column, Int32Column } from "../base/columns.ts";
import { PairTable } from "../base/pair-table.ts";
import type { Seconds } from "../base/units.ts";
import {
  type GoroutineSource,
  type GoroutineState,
  goroutineStates,
  isSystemStart,
  type Place,
  type StackFrame,
  unknownPlace,
} from "./goroutine-source.ts";

/** What a reader of dumps knows of one goroutine. */
export interface GoroutineFacts {
  readonly id: number;
  readonly weight: number;
  readonly state: GoroutineState;
  readonly reason: string;
  readonly waitSeconds: Seconds;
  readonly lockedToThread: boolean;
  /** From {@link GoroutineSetBuilder.stack}. */
  readonly stack: number;
  /** From {@link GoroutineSetBuilder.place}. */
  readonly creator: number;
  readonly creatorId: number;
  /** The start function where the file tells it, else the outermost frame is taken. */
  readonly start?: number | undefined;
  readonly labels?: ReadonlyMap<string, string> | undefined;
}

export class GoroutineSetBuilder {
  private readonly places: StackFrame[] = [{ ...unknownPlace, inlined: false }];
  private readonly placeIds = new Map<string, number>();
  /** Stacks as a prefix tree from the outermost frame inwards: (parent stack, place). Stack 0 is the empty one. */
  private readonly stacks = new PairTable();
  private readonly columns = newColumns();
  private readonly reasons: string[] = [""];
  private readonly reasonIds = new Map<string, number>([["", 0]]);
  private readonly labels = new Map<number, ReadonlyMap<string, string>>();

  constructor() {
    this.stacks.intern(-1, -1);
  }

  /** A number for a place; equal places get equal numbers. */
  place(name: string, file: string, line: number, inlined = false): number {
    const key = `${name}\0${file}\0${line}\0${inlined}`;
    let id = this.placeIds.get(key);
    if (id === undefined) {
      id = this.places.length;
      this.places.push({ function: name, file, line, inlined });
      this.placeIds.set(key, id);
    }
    return id;
  }

  /** A number for a stack, given as places innermost first. */
  stack(places: readonly number[]): number {
    let stack = 0;
    for (let i = places.length - 1; i >= 0; i--) stack = this.stacks.intern(stack, places[i]!);
    return stack;
  }

  add(facts: GoroutineFacts): void {
    const { columns } = this;
    if (facts.labels && facts.labels.size > 0) this.labels.set(columns.id.length, facts.labels);
    columns.id.push(facts.id);
    columns.weight.push(facts.weight);
    columns.state.push(goroutineStates.indexOf(facts.state));
    columns.reason.push(this.reason(facts.reason));
    columns.wait.push(facts.waitSeconds);
    columns.locked.push(facts.lockedToThread ? 1 : 0);
    columns.stack.push(facts.stack);
    columns.creator.push(facts.creator);
    columns.creatorId.push(facts.creatorId);
    columns.start.push(facts.start ?? (facts.stack === 0 ? 0 : this.outermost(facts.stack)));
  }

  get count(): number {
    return this.columns.id.length;
  }

  finish(takenAt?: number): GoroutineSource {
    return new GoroutineSet(this.columns, this.places, this.stacks, this.reasons, this.labels, takenAt);
  }

  private outermost(stack: number): number {
    let at = stack;
    while (this.stacks.first.data[at] !== 0) at = this.stacks.first.data[at]!;
    return this.stacks.second.data[at]!;
  }

  private reason(text: string): number {
    let id = this.reasonIds.get(text);
    if (id === undefined) {
      id = this.reasons.push(text) - 1;
      this.reasonIds.set(text, id);
    }
    return id;
  }
}

function newColumns() {
  return {
    id: new Float64Column(),
    weight: new Float64Column(),
    state: new Int32Column(),
    reason: new Int32Column(),
    wait: new Float64Column(),
    locked: new Int32Column(),
    stack: new Int32Column(),
    creator: new Int32Column(),
    creatorId: new Float64Column(),
    start: new Int32Column(),
  };
}

class GoroutineSet implements GoroutineSource {
  readonly takenAt: number | undefined;
  private readonly columns: ReturnType<typeof newColumns>;
  private readonly places: readonly StackFrame[];
  private readonly stacks: PairTable;
  private readonly reasons: readonly string[];
  private readonly labelsOf: ReadonlyMap<number, ReadonlyMap<string, string>>;
  private readonly currents = new Map<number, Place>();

  constructor(
    columns: ReturnType<typeof newColumns>,
    places: readonly StackFrame[],
    stacks: PairTable,
    reasons: readonly string[],
    labels: ReadonlyMap<number, ReadonlyMap<string, string>>,
    takenAt: number | undefined,
  ) {
    this.columns = columns;
    this.places = places;
    this.stacks = stacks;
    this.reasons = reasons;
    this.labelsOf = labels;
    this.takenAt = takenAt;
  }

  get count(): number {
    return this.columns.id.length;
  }

  id(row: number): number {
    return this.columns.id.data[row]!;
  }

  weight(row: number): number {
    return this.columns.weight.data[row]!;
  }

  state(row: number): GoroutineState {
    return goroutineStates[this.columns.state.data[row]!]!;
  }

  reason(row: number): string {
    return this.reasons[this.columns.reason.data[row]!]!;
  }

  waitSeconds(row: number): Seconds {
    return this.columns.wait.data[row]!;
  }

  lockedToThread(row: number): boolean {
    return this.columns.locked.data[row] === 1;
  }

  current(row: number): Place {
    const stack = this.columns.stack.data[row]!;
    let place = this.currents.get(stack);
    if (!place) {
      const frames = this.frames(row);
      // SIGQUIT logs show the runtime's own frames that a traceback for users leaves out.
      place = frames.find((frame) => !isRuntimeOwn(frame.function)) ?? frames[0] ?? unknownPlace;
      this.currents.set(stack, place);
    }
    return place;
  }

  start(row: number): Place {
    return this.places[this.columns.start.data[row]!]!;
  }

  creator(row: number): Place {
    return this.places[this.columns.creator.data[row]!]!;
  }

  creatorId(row: number): number {
    return this.columns.creatorId.data[row]!;
  }

  system(row: number): boolean {
    return isSystemStart(this.start(row).function);
  }

  labels(row: number): ReadonlyMap<string, string> | undefined {
    return this.labelsOf.get(row);
  }

  frames(row: number): readonly StackFrame[] {
    const frames: StackFrame[] = [];
    // Kept from the outermost inwards: the last one added is the innermost.
    for (let at = this.columns.stack.data[row]!; at > 0; at = this.stacks.first.data[at]!) {
      frames.push(this.places[this.stacks.second.data[at]!]!);
    }
    return frames;
  }
}

/** runtime/traceback.go showframe: the runtime's functions are hidden but for exported ones. */
function isRuntimeOwn(name: string): boolean {
  return name.startsWith("runtime.") && !/^runtime\.[A-Z]/.test(name) && name !== "runtime.main";
}
