import { ProcscopeError } from "../base/errors.ts";
import { formatBytes } from "../base/quantity.ts";
import { ask, Recording, type RecordingOptions, refuse, type Source } from "./recording.ts";

export interface HeapProfileOptions extends RecordingOptions {
  /** Bytes between samples, on average; 128 KiB by default. */
  readonly interval?: number | undefined;
}

let current: Recording | undefined;

/**
 * Begins to sample what this thread allocates. Each file shows what is still alive of that, by the stack that allocated
 * it. Written to `heap.pdf` by writeHeapProfile(), or by itself at exit, at a signal or uncaught error. Buffers and other
 * memory outside of V8's heap are not sampled: the files say how much there was. Throws USAGE where one is being recorded.
 */
export function heapProfile(options: HeapProfileOptions = {}): void {
  if (current?.recording) {
    throw new ProcscopeError("USAGE", "heapProfile() has been called already; writeHeapProfile() ends it");
  }
  current = new Recording(heapSource(Math.max(1024, Math.round(options.interval ?? 128 * 1024))), options);
}

/** Writes `heap-001.pdf`, `heap-002.pdf` …: what is alive now of all that was allocated since heapProfile(). */
export function dumpHeapProfile(path?: string): Promise<string> {
  return current?.recording ? current.dump(path) : notRunning();
}

/** Ends the sampling and writes `heap.pdf`, or to `path` in the format of its extension. Resolves to the file's path. */
export function writeHeapProfile(path?: string): Promise<string> {
  return current?.recording ? current.write(path) : notRunning();
}

function notRunning(): Promise<string> {
  return refuse(
    new ProcscopeError("USAGE", "no heap profile is being recorded", { hint: "call memdebug.heapProfile() first" }),
  );
}

function heapSource(interval: number): Source {
  return {
    kind: "heap",
    restarts: false,
    period: interval,
    start(session) {
      ask(session, "HeapProfiler.enable");
      ask(session, "HeapProfiler.startSampling", { samplingInterval: interval });
    },
    take(session, last) {
      const { profile } = ask(session, last ? "HeapProfiler.stopSampling" : "HeapProfiler.getSamplingProfile");
      if (last) ask(session, "HeapProfiler.disable");
      return profile;
    },
    comments() {
      const { external, arrayBuffers } = process.memoryUsage();
      return [
        `Sampled every ${formatBytes(interval)} of V8's heap; not sampled: ${formatBytes(external)} outside of it`,
        `(${formatBytes(arrayBuffers)} of that in Buffers and ArrayBuffers)`,
      ];
    },
  };
}
