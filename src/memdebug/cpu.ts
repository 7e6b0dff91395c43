import type { Session } from "node:inspector";
import { ProcscopeError } from "../base/errors.ts";
import { gcMode, isCollecting } from "./print.ts";
import { ask, Recording, type RecordingOptions, refuse, type Source } from "./recording.ts";

export interface ProfileOptions extends RecordingOptions {
  /** Milliseconds between samples; 1 by default, 0.1 at least. */
  readonly interval?: number | undefined;
}

let current: Recording | undefined;
let collected = true;

/**
 * Begins to profile the CPU time of this thread, and turns the garbage collection of print() off, which would be most of
 * it. Written to `cpu.pdf` by writeProfile(), or by itself at exit, at a signal or uncaught error. Throws USAGE where a
 * profile is being recorded already.
 */
export function profile(options: ProfileOptions = {}): void {
  if (current?.recording)
    throw new ProcscopeError("USAGE", "profile() has been called already; writeProfile() ends it");
  const interval = Math.max(100, Math.round((options.interval ?? 1) * 1000));
  current = new Recording(cpuSource(interval), options);
  collected = isCollecting();
  gcMode(false);
}

/**
 * Writes `cpu-001.pdf`, `cpu-002.pdf` …, each covering only the time since the one before, and goes on. Resolves to the
 * file's path; the program goes on meanwhile. With `path`, its extension says the format.
 */
export function dumpProfile(path?: string): Promise<string> {
  return current?.recording ? current.dump(path) : notRunning();
}

/** Ends the profile and writes `cpu.pdf`, or to `path` in the format of its extension. Resolves to the file's path. */
export function writeProfile(path?: string): Promise<string> {
  if (!current?.recording) return notRunning();
  gcMode(collected);
  return current.write(path);
}

function notRunning(): Promise<string> {
  return refuse(new ProcscopeError("USAGE", "no profile is being recorded", { hint: "call memdebug.profile() first" }));
}

function cpuSource(microseconds: number): Source {
  const start = (session: Session): void => {
    ask(session, "Profiler.enable");
    ask(session, "Profiler.setSamplingInterval", { interval: microseconds });
    ask(session, "Profiler.start");
  };
  return {
    kind: "cpu",
    restarts: true,
    period: microseconds * 1000,
    start,
    take(session, last) {
      const { profile } = ask(session, "Profiler.stop");
      if (last) ask(session, "Profiler.disable");
      else ask(session, "Profiler.start");
      return profile;
    },
    comments: () => [],
  };
}
