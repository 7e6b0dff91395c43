import { type Instant, now, since } from "./clock.ts";
import { memoryLine, type Reading } from "./line.ts";
import { collectGarbage, type Memory, readMemory, stackSize } from "./memory.ts";
import { renderData, takesColour, tell, writeNow } from "./output.ts";

export interface Settings {
  /** Collect garbage and give free memory back before looking. Default true; profile() turns it off. */
  readonly gc?: boolean | undefined;
  /** Lines of JSON instead of text. */
  readonly json?: boolean | undefined;
  /** Takes each line (with its line end) instead of standard output. What it throws is swallowed. */
  readonly write?: ((line: string) => void) | undefined;
  /** Colour or not, whatever the terminal and NO_COLOR say. */
  readonly colour?: boolean | undefined;
}

const settings: {
  gc: boolean;
  json: boolean;
  write: ((line: string) => void) | undefined;
  colour: boolean | undefined;
} = { gc: true, json: false, write: undefined, colour: undefined };

/** Changes what print() and steps do in this thread; what is left out stays. `write: undefined` is standard output. */
export function configure(changes: Settings): void {
  if (changes.gc !== undefined) settings.gc = changes.gc;
  if (changes.json !== undefined) settings.json = changes.json;
  if ("write" in changes) settings.write = changes.write;
  if ("colour" in changes) settings.colour = changes.colour;
}

/** Whether print() collects garbage first. */
export function gcMode(on: boolean): void {
  settings.gc = on;
}

export function isCollecting(): boolean {
  return settings.gc;
}

/** What the next look is compared with. */
export interface Baseline {
  heap: number;
  system: number;
}

/** Of print(): the first one compares with nothing, so that it shows everything, as the original does. */
const last: Baseline = { heap: 0, system: 0 };

/**
 * Prints what happened to memory since the last print(), with the time since `t0`, and returns the numbers. Never
 * throws. By default it collects all garbage first, which takes milliseconds: see {@link configure}.
 */
export function print(t0: Instant, ...what: readonly unknown[]): Reading {
  return look(last, t0, what);
}

const nothing: Reading = { elapsed: undefined, change: 0, heap: 0, system: 0, systemGrew: false, stack: undefined };
let complained = false;

/** Looks, compares with the baseline and moves it, prints. */
export function look(baseline: Baseline, t0: unknown, what: readonly unknown[], elapsed = since(t0)): Reading {
  try {
    if (settings.gc) collectGarbage();
    const memory = readMemory();
    const reading = compare(memory, baseline, elapsed);
    // Before the line is made: what making it allocates is not the program's.
    baseline.heap = memory.heap;
    baseline.system = memory.system;
    emit(reading, what);
    return reading;
  } catch (error) {
    if (!complained) tell(`cannot look at memory: ${error}`);
    complained = true;
    return nothing;
  }
}

function compare(memory: Memory, baseline: Baseline, elapsed: number | undefined): Reading {
  return {
    elapsed,
    change: memory.heap - baseline.heap,
    heap: memory.heap,
    system: memory.system,
    systemGrew: memory.system > baseline.system,
    stack: stackSize(),
  };
}

function emit(reading: Reading, what: readonly unknown[]): void {
  const text = renderData(what);
  const { write } = settings;
  const line = settings.json
    ? `${JSON.stringify({ schema: "procscope/memdebug/1", ...reading, text, takenAt: new Date().toISOString() })}\n`
    : memoryLine(reading, text, settings.colour ?? (write === undefined && takesColour()));
  if (write) write(line);
  else writeNow(1, line);
}

/** A baseline of its own, taken now. */
function freshBaseline(): Baseline {
  try {
    if (settings.gc) collectGarbage();
    return readMemory();
  } catch {
    return { heap: 0, system: 0 };
  }
}

/**
 * A step with its own beginning and its own baseline, so that steps of concurrent flows do not mix up each other's.
 * (The heap is one: what another flow allocated meanwhile is in the number.)
 */
export class Step {
  private readonly label: string;
  private readonly baseline: Baseline;
  private readonly begun: number;
  private printed = false;

  constructor(label: string) {
    this.label = label;
    this.baseline = { ...freshBaseline() };
    this.begun = now();
  }

  /** Prints the change since start() or the last print() of this step, with the time since start(). */
  print(...data: readonly unknown[]): Reading {
    this.printed = true;
    return look(this.baseline, this.begun, [this.label, ...data]);
  }

  /** The end of `using _ = step("label")`. Prints unless the step has printed already. */
  [Symbol.dispose](): void {
    if (!this.printed) this.print();
  }
}

export function start(label: string): Step {
  return new Step(label);
}

/** For `using _ = memdebug.step("label")`: prints at the end of the block. */
export function step(label: string): Step & Disposable {
  return new Step(label);
}

/** A function that does what `fn` does and prints each call's effect on memory when it (or its promise) is done. */
export function wrap<This, Args extends unknown[], Result>(
  fn: (this: This, ...args: Args) => Result,
  label: string = fn.name || "anonymous",
): (this: This, ...args: Args) => Result {
  const wrapped = function (this: This, ...args: Args): Result {
    const current = new Step(label);
    let result: Result;
    try {
      result = fn.apply(this, args);
    } catch (error) {
      current.print("threw");
      throw error;
    }
    if (!isPromise(result)) {
      current.print();
      return result;
    }
    return result.then(
      (value) => {
        current.print();
        return value;
      },
      (error: unknown) => {
        current.print("rejected");
        throw error;
      },
    ) as Result;
  };
  Object.defineProperty(wrapped, "name", { value: fn.name, configurable: true });
  Object.defineProperty(wrapped, "length", { value: fn.length, configurable: true });
  return wrapped;
}

function isPromise(value: unknown): value is Promise<unknown> {
  return value instanceof Promise;
}
