import type { Session } from "node:inspector";
import { createRequire } from "node:module";
import { basename, resolve } from "node:path";
import { isMainThread, threadId } from "node:worker_threads";
import { letNodeEnd } from "../base/clean-exit.ts";
import { ProcscopeError } from "../base/errors.ts";
import { encoderFor } from "../profile/encoders.ts";
import { awaitPending, type ConversionJob, convert, convertNow, rawPath, writePrivate } from "./conversion.ts";
import { tell } from "./output.ts";

export interface RecordingOptions {
  /** Where files go; the current directory by default. */
  readonly dir?: string | undefined;
  /** The extension of the files: "pdf" (default), "pb.gz", "svg", "html", "cpuprofile", "speedscope.json", "folded", "txt". */
  readonly format?: string | undefined;
  /** The files' name before the extension; "cpu" or "heap" by default. */
  readonly name?: string | undefined;
  /** Leave only the innermost of the frames of Node's own start-up and module loading. Default true. */
  readonly collapse?: boolean | undefined;
}

/** What a kind of profile does with V8's inspector. */
export interface Source {
  readonly kind: ConversionJob["kind"];
  /** Begins. */
  start(session: Session): void;
  /** The raw profile so far; ends the recording where `last`. */
  take(session: Session, last: boolean): unknown;
  /** Whether the next dump covers only what comes after this one. */
  readonly restarts: boolean;
  readonly period: number;
  comments(): string[];
}

/** Our signal listeners: another recording's must not keep the program alive. */
const ours = new WeakSet<object>();
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A profile that is being recorded in this thread, and the files that come of it. */
export class Recording {
  private readonly source: Source;
  private readonly options: RecordingOptions;
  private readonly session: Session;
  private begun = Date.now();
  private dumps = 0;
  private live = true;
  private readonly onExit = (): void => this.finishNow();
  private readonly onSignal = (signal: NodeJS.Signals): void => this.signalled(signal);

  /** Begins to record. Throws USAGE for a format that cannot be written, UNSUPPORTED_HERE without an inspector. */
  constructor(source: Source, options: RecordingOptions) {
    encoderFor(`x.${options.format ?? "pdf"}`);
    this.source = source;
    this.options = options;
    this.session = newSession();
    source.start(this.session);
    process.on("exit", this.onExit);
    // Only the main thread gets signals.
    ours.add(this.onSignal);
    if (isMainThread) for (const signal of signals) process.on(signal, this.onSignal);
  }

  get recording(): boolean {
    return this.live;
  }

  /** Writes what was recorded to a numbered file and goes on. */
  dump(path?: string): Promise<string> {
    return told(() => {
      this.dumps++;
      const output = this.outputPath(path, `-${String(this.dumps).padStart(3, "0")}`);
      const job = this.save(output, false);
      if (this.source.restarts) this.begun = Date.now();
      return convert(job);
    });
  }

  /** Writes what was recorded and ends. */
  write(path?: string): Promise<string> {
    return told(() => {
      const job = this.save(this.outputPath(path, ""), true);
      return convert(job);
    });
  }

  private outputPath(path: string | undefined, suffix: string): string {
    const { dir = ".", format = "pdf", name = this.source.kind } = this.options;
    const thread = isMainThread ? "" : `-worker${threadId}`;
    const output = resolve(path ?? resolve(dir, `${name}${thread}${suffix}.${format}`));
    encoderFor(output);
    return output;
  }

  /** Takes the raw profile and writes it down, synchronously. */
  private save(output: string, last: boolean): ConversionJob {
    if (!this.live) throw new ProcscopeError("USAGE", `the ${this.source.kind} profile has been written already`);
    const raw = this.source.take(this.session, last);
    if (last) this.end();
    const job: ConversionJob = {
      kind: this.source.kind,
      raw: rawPath(this.source.kind, output),
      output,
      program: process.argv[1] ?? basename(process.execPath),
      comments: [`Node: ${process.version}`, ...this.source.comments()],
      timeNanos: String(BigInt(this.begun) * 1_000_000n),
      durationNanos: (Date.now() - this.begun) * 1e6,
      collapse: this.options.collapse ?? true,
      period: this.source.period,
    };
    writePrivate(job.raw, JSON.stringify(raw));
    return job;
  }

  private end(): void {
    this.live = false;
    this.session.disconnect();
    if (isMainThread) for (const signal of signals) process.off(signal, this.onSignal);
  }

  /** At exit: what was not written is, and the exit waits for it. */
  private finishNow(): void {
    try {
      if (this.live) {
        const job = this.save(this.outputPath(undefined, ""), true);
        convertNow(job);
      }
      awaitPending();
    } catch (error) {
      tell(sentence(error));
    }
    letNodeEnd();
  }

  /** A signal that only we listen to would have ended the program: it does, once the profile is written. */
  private signalled(signal: NodeJS.Signals): void {
    if (process.listeners(signal).some((listener) => !ours.has(listener))) return;
    this.finishNow();
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  }
}

/** A promise whose failure is told on standard error, and ends no program that does not await it. */
function told(work: () => Promise<string>): Promise<string> {
  const result = new Promise<string>((settle) => settle(work()));
  result.catch((error: unknown) => tell(sentence(error)));
  return result;
}

/** A promise that is refused with `error`, in the manner of {@link Recording.dump}. */
export function refuse(error: ProcscopeError): Promise<string> {
  return told(() => Promise.reject(error));
}

function sentence(error: unknown): string {
  if (!(error instanceof ProcscopeError)) return String(error);
  return error.hint ? `${error.message}; ${error.hint}` : error.message;
}

function newSession(): Session {
  try {
    // Not every build of Node has an inspector: an import at the top would keep print() from working there.
    const { Session } = createRequire(import.meta.url)("node:inspector") as typeof import("node:inspector");
    const session = new Session();
    session.connect();
    return session;
  } catch (cause) {
    throw new ProcscopeError("UNSUPPORTED_HERE", "this build of Node has no inspector to profile with", { cause });
  }
}

/** Posts to the inspector of this thread, which answers before post() returns. Throws what the inspector says. */
export function ask(session: Session, method: string, parameters: object = {}): Record<string, unknown> {
  let answer: object | undefined;
  let failure: Error | null = null;
  session.post(method, parameters, (error: Error | null, result?: object) => {
    failure = error;
    answer = result;
  });
  if (failure) throw failure;
  return (answer ?? {}) as Record<string, unknown>;
}
