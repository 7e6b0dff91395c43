/**
 * Where results go. Data goes to standard output (or the file of `-o`), all else to standard error; a closed pipe ends
 * the program quietly; colour only on terminals, NO_COLOR and FORCE_COLOR respected.
 */
import { closeSync, openSync, realpathSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { styleText } from "node:util";
import { errnoOf, ProcscopeError } from "../base/errors.ts";

export interface Sink {
  /** Writes all of `text`, waiting where the reader is slow. Throws IO; ends the process quietly on a closed pipe. */
  write(text: string | Uint8Array): void;
  /** Makes what was written final. A file appears whole under its name or not at all. */
  close(): void;
  /** Leaves nothing behind: for a failed or interrupted run. */
  discard(): void;
}

/** Standard output, or `path` (created 0600: what is written about a process is for its owner). `-` is standard output. */
export function openSink(path?: string): Sink {
  if (path === undefined || path === "-") return new FdSink(1, undefined);
  try {
    const there = statSync(path, { throwIfNoEntry: false });
    if (there?.isDirectory()) throw new ProcscopeError("IO", `${path} is a folder`);
    // A pipe or a device is written to and never replaced by a file; a link stays one.
    if (there && !there.isFile()) return new FdSink(openSync(path, "w"), path);
    return FileSink.create(there ? realpathSync(path) : path);
  } catch (error) {
    if (error instanceof ProcscopeError) throw error;
    throw new ProcscopeError("IO", `cannot create ${path}: ${errnoOf(error) ?? error}`, { cause: error });
  }
}

class FdSink implements Sink {
  protected readonly fd: number;
  private readonly path: string | undefined;

  constructor(fd: number, path: string | undefined) {
    this.fd = fd;
    this.path = path;
  }

  write(text: string | Uint8Array): void {
    const bytes = typeof text === "string" ? Buffer.from(text) : text;
    for (let done = 0; done < bytes.length; ) {
      try {
        done += writeSync(this.fd, bytes, done);
      } catch (error) {
        const errno = errnoOf(error);
        if (errno === "EAGAIN") {
          // A pipe that somebody else made non-blocking: wait a little for its reader.
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
          continue;
        }
        if (errno === "EPIPE" && this.path === undefined) process.exit(0);
        throw new ProcscopeError("IO", `cannot write ${this.path ?? "standard output"}: ${errno ?? error}`, {
          hint: errno === "ENOSPC" ? "the disk is full; choose another file with -o" : undefined,
          cause: error,
        });
      }
    }
  }

  close(): void {}
  discard(): void {}
}

class FileSink extends FdSink {
  private readonly final: string;
  private readonly temporary: string;

  static create(path: string): FileSink {
    const temporary = `${path}.${process.pid}.part`;
    return new FileSink(openSync(temporary, "wx", 0o600), path, temporary);
  }

  constructor(fd: number, final: string, temporary: string) {
    super(fd, final);
    this.final = final;
    this.temporary = temporary;
  }

  override write(text: string | Uint8Array): void {
    try {
      super.write(text);
    } catch (error) {
      this.discard();
      throw error;
    }
  }

  override close(): void {
    closeSync(this.fd);
    renameSync(this.temporary, this.final);
  }

  override discard(): void {
    try {
      closeSync(this.fd);
    } catch {
      // Already closed: nothing to do.
    }
    rmSync(this.temporary, { force: true });
  }
}

/** A line on standard error: progress, warnings, what was left out. */
export function notice(text: string): void {
  try {
    writeSync(2, `${text}\n`);
  } catch {
    // Nobody listens to standard error; the data still goes out.
  }
}

type Style = Parameters<typeof styleText>[0];
export type Paint = (style: Style, text: string) => string;

/** How to colour text for a stream: not at all unless it is a terminal; NO_COLOR wins over FORCE_COLOR over the stream. */
export function paintFor(stream: { isTTY?: boolean }): Paint {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  const on = NO_COLOR
    ? false
    : FORCE_COLOR !== undefined && FORCE_COLOR !== "0"
      ? true
      : stream.isTTY === true && TERM !== "dumb";
  return on ? (style, text) => styleText(style, text, { validateStream: false } as never) : (_style, text) => text;
}

/** The first line of every JSON result: schema first, then what it is about. */
export function jsonHeader(schema: string, about: Record<string, unknown>): Record<string, unknown> {
  return { schema, ...about, takenAt: new Date().toISOString() };
}
