/** Where lines go and how they look. Nothing here throws into the program that is looked at. */
import { writeSync } from "node:fs";
import { isatty } from "node:tty";
import { inspect } from "node:util";
import { errnoOf } from "../base/errors.ts";
import { escapeTerminal } from "../base/escape.ts";

const MAX_TEXT = 2000;
const MAX_STALLS = 40;
const STALL_MILLISECONDS = 5;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** A program's values as one line: strings as they are, the rest as util.inspect shows it, bounded. */
export function renderData(data: readonly unknown[]): string {
  const text = data.map(renderOne).join(" ");
  return escapeTerminal(text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text);
}

function renderOne(value: unknown): string {
  if (typeof value === "string") return value;
  try {
    const limits = { depth: 3, maxArrayLength: 20, maxStringLength: 200, breakLength: Number.POSITIVE_INFINITY };
    return inspect(value, { ...limits, compact: true });
  } catch {
    // A getter, a proxy or an inspect function of the program's own threw.
    return "[cannot be shown]";
  }
}

let colour: boolean | undefined;

/** Whether standard output takes colour: a terminal, unless NO_COLOR or FORCE_COLOR say otherwise. Asked once. */
export function takesColour(): boolean {
  colour ??= findColour(1);
  return colour;
}

function findColour(fd: number): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (NO_COLOR) return false;
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== "0") return true;
  return isatty(fd) && TERM !== "dumb";
}

/**
 * Writes all of `text`, now: what is printed before a crash must be seen. A reader that takes nothing for a fifth of a
 * second loses the rest of the line, for a program must not hang on its debugging output.
 */
export function writeNow(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  let stalls = 0;
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      if (errnoOf(error) !== "EAGAIN" || ++stalls > MAX_STALLS) return;
      Atomics.wait(sleeper, 0, 0, STALL_MILLISECONDS);
    }
  }
}

/** A notice to the developer, on standard error. */
export function tell(text: string): void {
  writeNow(2, `memdebug: ${escapeTerminal(text)}\n`);
}
