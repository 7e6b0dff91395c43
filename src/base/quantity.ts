import type { Bytes } from "./units.ts";

const binary = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Bytes for people, in powers of 1024: `512B`, `1.5KiB`, `12.3MiB`. */
export function formatBytes(bytes: Bytes | bigint): string {
  let value = Number(bytes);
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < binary.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)}${binary[unit]}`;
}
