/**
 * The line of memdebug, as github.com/steveoc64/memdebug prints it:
 *
 *       801.598µs (  139224): 100190264: 144013560:   1900544 <-   [entrant updated]
 *
 * time, effect on memory, heap in use, memory obtained from the system, stack, and what the caller gave. A pure function
 * over numbers, for the memory of any program.
 */
import { styleText } from "node:util";
import type { Bytes, Nanoseconds } from "../base/units.ts";

export interface Reading {
  /** Since the time that the caller gave; undefined where it gave none. */
  readonly elapsed: Nanoseconds | undefined;
  /** Heap in use now less heap in use before: positive consumed, negative freed. */
  readonly change: Bytes;
  /** Heap in use. */
  readonly heap: Bytes;
  /** Memory obtained from the system. */
  readonly system: Bytes;
  readonly systemGrew: boolean;
  /** undefined where it cannot be read. */
  readonly stack: Bytes | undefined;
}

/**
 * `what` is shown in square brackets and must be one line already. With colour the effect is yellow (consumed) or green
 * (freed) and without a sign, as in the original; without colour it carries its sign.
 */
export function memoryLine(reading: Reading, what: string, colour: boolean): string {
  const { change, systemGrew, stack } = reading;
  const paint = (style: "yellow" | "green" | "red" | "magenta", text: string): string =>
    colour ? styleText(style, text, { validateStream: false } as never) : text;
  const elapsed = (reading.elapsed === undefined ? "?" : goDuration(reading.elapsed)).padStart(12);
  const size = colour ? String(Math.abs(change)) : `${change > 0 ? "+" : ""}${change}`;
  const effect = paint(change < 0 ? "green" : "yellow", size.padStart(8));
  const system = String(reading.system).padStart(10);
  const numbers = [
    String(reading.heap).padStart(10),
    systemGrew ? paint("red", system) : system,
    (stack === undefined ? "?" : String(stack)).padStart(10),
  ];
  return `${elapsed} (${effect}):${numbers.join(":")} <- ${paint("magenta", `  [${what}]`)}\n`;
}

/** As Go writes durations: `801.598µs`, `1.5ms`, `2.3s`, `1m2.5s`, `1h0m2s`. */
export function goDuration(nanoseconds: Nanoseconds): string {
  const sign = nanoseconds < 0 ? "-" : "";
  const abs = Math.abs(Math.round(nanoseconds));
  if (abs === 0) return "0s";
  if (abs < 1e3) return `${sign}${abs}ns`;
  if (abs < 1e6) return `${sign}${fraction(abs, 1e3)}µs`;
  if (abs < 1e9) return `${sign}${fraction(abs, 1e6)}ms`;
  const minutes = Math.floor(abs / 60e9);
  const seconds = `${fraction(abs - minutes * 60e9, 1e9)}s`;
  if (minutes === 0) return sign + seconds;
  const hours = Math.floor(minutes / 60);
  return hours === 0 ? `${sign}${minutes}m${seconds}` : `${sign}${hours}h${minutes % 60}m${seconds}`;
}

function fraction(value: number, unit: number): string {
  const digits = String(unit).length - 1;
  const whole = Math.floor(value / unit);
  const rest = String(value % unit)
    .padStart(digits, "0")
    .replace(/0+$/, "");
  return rest === "" ? String(whole) : `${whole}.${rest}`;
}
