/** Runs the screens: samples at intervals, keys in between, until the user, a signal or the target ends it. */
import { setFlagsFromString } from "node:v8";
import { exitStatus, ProcscopeError } from "../../base/errors.ts";
import type { Seconds } from "../../base/units.ts";
import type { GroupBy } from "../../views/groups.ts";
import { DumpFolder } from "../dump-folder.ts";
import type { Live } from "../live.ts";
import { Terminal } from "../screen/terminal.ts";
import { Sampler } from "./process-head.ts";
import { resourcesOf, waitLines } from "./resources.ts";
import { TopScreen } from "./top-screen.ts";

/** What a screen is to the loop. */
export interface Screen {
  key(key: Parameters<TopScreen["key"]>[0]): void;
  rows(width: number, height: number): string[];
}

export interface LoopOptions {
  readonly interval: Seconds;
  /** Samples until it ends by itself; 0 is no end. */
  readonly count: number;
  readonly signal: AbortSignal;
  readonly ended?: Promise<void> | undefined;
}

/** The loop of a full screen: what to do at each tick is the screen's. */
export class ScreenLoop {
  private readonly options: LoopOptions;
  private interval: Seconds;
  private wake: (() => void) | undefined;
  private over = false;
  private terminal: Terminal | undefined;
  private screen: Screen | undefined;

  constructor(options: LoopOptions) {
    this.options = options;
    this.interval = options.interval;
  }

  quit(): void {
    this.over = true;
    this.wake?.();
  }

  /** The next tick comes now. */
  refresh(): void {
    this.wake?.();
  }

  setInterval(seconds: Seconds): void {
    this.interval = seconds;
    this.wake?.();
  }

  draw(): void {
    const { terminal, screen } = this;
    if (terminal && screen) terminal.draw(screen.rows(terminal.columns, terminal.rows));
  }

  /** Runs until quit, signal, target's end or count. An error of `tick` ends it, with the terminal restored first. */
  async run(screen: Screen, tick: () => void): Promise<void> {
    const { signal, count, ended } = this.options;
    this.screen = screen;
    using terminal = new Terminal({
      key: (key) => {
        screen.key(key);
        this.draw();
      },
      resize: () => this.draw(),
    });
    this.terminal = terminal;
    const stop = (): void => this.quit();
    signal.addEventListener("abort", stop);
    void ended?.then(stop);
    try {
      this.draw();
      for (let done = 1; !this.over && !signal.aborted; done++) {
        tick();
        this.draw();
        if (done === count) break;
        await this.sleep();
      }
    } finally {
      signal.removeEventListener("abort", stop);
      this.terminal = undefined;
    }
  }

  private async sleep(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.interval * 1000);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wake = undefined;
  }
}

export interface TopOptions extends LoopOptions {
  readonly by: GroupBy;
}

/** `top` of one process. Returns the exit status; throws NO_PROCESS when the target has exited. */
export async function runTop(live: Live, options: TopOptions): Promise<number> {
  // V8 lets the young generation grow for throughput; a view that works for milliseconds a second needs a flat one.
  setFlagsFromString("--semi-space-growth-factor=1");
  const loop = new ScreenLoop(options);
  const sampler = new Sampler(live.process);
  const screen: TopScreen = new TopScreen(
    {
      quit: () => loop.quit(),
      refresh: () => loop.refresh(),
      setInterval: (seconds) => loop.setInterval(seconds),
      redraw: () => loop.draw(),
      writeDump: async () =>
        new DumpFolder(".", live.process.pid, Number.MAX_SAFE_INTEGER).write(live.text(), new Date()),
      describe: (id) => describeGoroutine(live, id),
      resources: resourcesOf,
    },
    options,
  );
  await loop.run(screen, () => {
    const stacks = screen.needsStacks;
    screen.update(sampler.sample(live.snapshot(stacks), stacks));
  });
  return options.signal.aborted ? exitStatus.interrupted : exitStatus.ok;
}

function describeGoroutine(live: Live, id: number): readonly string[] | undefined {
  try {
    const text = live.traceback(id);
    if (text === undefined) return undefined;
    return [...text.trimEnd().split("\n"), ...waitLines(live, id)];
  } catch (error) {
    // The loop's next sample says it, with the terminal restored.
    if (error instanceof ProcscopeError && error.code === "NO_PROCESS") return undefined;
    throw error;
  }
}
