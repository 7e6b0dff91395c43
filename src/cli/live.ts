/** A live process whose goroutines are looked at again and again: what `diff`, `watch` and `top` share. */
import type { Seconds } from "../base/units.ts";
import type { GoroutineSource } from "../views/goroutine-source.ts";
import type { Target } from "./target.ts";

export interface LiveOptions {
  /** Whether whole stacks are read; otherwise frames are empty. Much cheaper without. */
  readonly stacks: boolean;
}

export interface Live extends Disposable {
  /** Takes a snapshot. Throws NO_PROCESS when the target has exited. */
  snapshot(): GoroutineSource;
}

/** Attaches to the target. Throws what attaching throws. */
export async function openLive(_target: Pick<Target, "pid" | "exe">, _options: LiveOptions): Promise<Live> {
  throw new Error("waits for src/go/process.ts");
}

/** Waits; ends early when the signal is aborted or `ended` resolves. */
export async function pause(seconds: Seconds, signal: AbortSignal, ended?: Promise<void>): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(finish, seconds * 1000);
    function finish(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      resolve();
    }
    signal.addEventListener("abort", finish);
    void ended?.then(finish);
  });
}
