import type { Pid } from "../base/units.ts";
import type { Figures } from "./memory-lines.ts";

/** What the files of the tree are made from: one Go process, seen from outside. */
export interface GoView {
  /** The values of runtime.MemStats at this moment. */
  memStats(): Figures;
  /** What runtime.Stack(all) of the process itself would write. */
  stacktrace(): Iterable<string | Uint8Array>;
  /** Goroutines as JSON, one line each after a header line. */
  goroutines(): Iterable<string | Uint8Array>;
  /** Goroutines counted by where they are. */
  summary(): string;
  /** Goroutines counted by what they wait for. */
  waitReasons(): string;
  /** The program and its build. */
  info(): string;
  close(): void;
}

/** Throws NO_PROCESS, PERMISSION or UNSUPPORTED_TARGET. */
export type OpenGoView = (pid: Pid) => GoView | Promise<GoView>;

/** One file of a process's folder. */
export interface GoFile {
  readonly path: string;
  /** May take long: read by the back thread. */
  readonly heavy: boolean;
  contents(view: GoView): string | Iterable<string | Uint8Array>;
}
