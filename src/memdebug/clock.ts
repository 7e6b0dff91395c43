import { performance } from "node:perf_hooks";
import type { Nanoseconds } from "../base/units.ts";

/** A point in time: of now(), performance.now() (ms), process.hrtime.bigint() (ns), Date.now() or a Date. */
export type Instant = number | bigint | Date;

/** The time that print() measures from: `const t0 = memdebug.now()`. */
export function now(): number {
  return performance.now();
}

/** No program runs for 30 years, so a number of milliseconds beyond that is one of Date.now(). */
const EPOCH_MILLISECONDS = 1e12;

/** The time since `instant`; undefined where it is none. */
export function since(instant: unknown): Nanoseconds | undefined {
  if (typeof instant === "bigint") return Number(process.hrtime.bigint() - instant);
  if (instant instanceof Date) return (Date.now() - instant.getTime()) * 1e6;
  if (typeof instant !== "number" || !Number.isFinite(instant)) return undefined;
  return (instant > EPOCH_MILLISECONDS ? Date.now() - instant : performance.now() - instant) * 1e6;
}
