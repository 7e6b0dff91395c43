import { ProcscopeError } from "./errors.ts";
import type { Nanoseconds, Seconds } from "./units.ts";

const unitSeconds: Record<string, number> = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600, d: 86400 };

/** Parses `500ms`, `2s`, `1m30s`, `5m`; a bare number is seconds. Throws USAGE. */
export function parseDuration(text: string): Seconds {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join("") !== text) {
    throw new ProcscopeError("USAGE", `not a duration: ${text}`, {
      hint: "write 500ms, 2s, 5m or 1h30m; a bare number is seconds",
    });
  }
  return parts.reduce((sum, part) => sum + Number(part[1]) * (unitSeconds[part[2]!] ?? 0), 0);
}

/** A duration for people: `801ns`, `1.5ms`, `2.3s`, `5m12s`, `3h5m`, `2d4h`. */
export function formatDuration(nanoseconds: Nanoseconds): string {
  const abs = Math.abs(nanoseconds);
  if (abs < 1e3) return `${Math.round(nanoseconds)}ns`;
  if (abs < 1e6) return `${trim(nanoseconds / 1e3)}µs`;
  if (abs < 1e9) return `${trim(nanoseconds / 1e6)}ms`;
  const seconds = nanoseconds / 1e9;
  if (abs < 60e9) return `${trim(seconds)}s`;
  const whole = Math.floor(Math.abs(seconds));
  const sign = nanoseconds < 0 ? "-" : "";
  if (whole < 3600) return `${sign}${Math.floor(whole / 60)}m${whole % 60 ? `${whole % 60}s` : ""}`;
  if (whole < 86400) return `${sign}${Math.floor(whole / 3600)}h${Math.floor((whole % 3600) / 60)}m`;
  return `${sign}${Math.floor(whole / 86400)}d${Math.floor((whole % 86400) / 3600)}h`;
}

function trim(value: number): string {
  const text = value.toFixed(Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0);
  // Zeros are taken off behind a point only: 500 stays 500.
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
