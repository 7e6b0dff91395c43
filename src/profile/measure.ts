/** Values with units for people, in the words of `go tool pprof`: `1.20s`, `512kB`, `35.71%`. */

interface Scale {
  readonly names: readonly string[];
  readonly units: readonly { readonly name: string; readonly factor: number }[];
}

const time: Scale = {
  names: ["nanosecond", "ns", "microsecond", "us", "µs", "millisecond", "ms", "second", "s"],
  units: [
    { name: "ns", factor: 1 },
    { name: "us", factor: 1e3 },
    { name: "ms", factor: 1e6 },
    { name: "s", factor: 1e9 },
    { name: "mins", factor: 60e9 },
    { name: "hrs", factor: 3600e9 },
  ],
};

const memory: Scale = {
  names: ["byte", "b", "kilobyte", "kb", "megabyte", "mb", "gigabyte", "gb"],
  units: [
    { name: "B", factor: 1 },
    { name: "kB", factor: 1024 },
    { name: "MB", factor: 1024 ** 2 },
    { name: "GB", factor: 1024 ** 3 },
    { name: "TB", factor: 1024 ** 4 },
  ],
};

const baseFactor: Record<string, number> = {
  microsecond: 1e3,
  us: 1e3,
  µs: 1e3,
  millisecond: 1e6,
  ms: 1e6,
  second: 1e9,
  s: 1e9,
  kilobyte: 1024,
  kb: 1024,
  megabyte: 1024 ** 2,
  mb: 1024 ** 2,
  gigabyte: 1024 ** 3,
  gb: 1024 ** 3,
};

/** Formats values of one sample type, all in one unit, so that columns can be compared. */
export class Measure {
  private readonly scale: Scale | undefined;
  /** From the profile's unit to the scale's smallest. */
  private readonly toBase: number;
  private readonly unit: string;
  private output: { readonly name: string; readonly factor: number } | undefined;

  constructor(unit: string) {
    const single = unit.toLowerCase().replace(/s$/, "") || unit.toLowerCase();
    this.unit = unit === "count" ? "" : unit;
    this.scale = [time, memory].find((scale) => scale.names.includes(single));
    this.toBase = baseFactor[single] ?? 1;
  }

  get isTime(): boolean {
    return this.scale === time;
  }

  /** A value in nanoseconds, for types that are times. */
  nanoseconds(value: number): number {
    return value * this.toBase;
  }

  /** Chooses the one unit for all values of a report, by the smallest and the largest of them, as pprof does. */
  chooseUnit(smallest: number, largest: number): void {
    const low = this.unitOf(smallest);
    this.output = low !== this.unitOf(largest) && smallest * 100 < largest ? this.unitOf(100 * smallest) : low;
  }

  /** `1.20s`; two decimals, none where they would be zero. */
  format(value: number): string {
    return this.label(value, this.output ?? this.unitOf(value));
  }

  /** In the unit that fits this value best, whatever the report's is. */
  formatAlone(value: number): string {
    return this.label(value, this.unitOf(value));
  }

  private label(value: number, unit: { readonly name: string; readonly factor: number } | undefined): string {
    const scaled = unit ? (value * this.toBase) / unit.factor : value;
    const text = decimal(scaled, 2).replace(/\.00$/, "");
    if (text === "0" || text === "-0") return "0";
    return text + (unit ? unit.name : this.unit && ` ${this.unit}`);
  }

  /** The largest unit in which the value is at least 1. */
  private unitOf(value: number): { readonly name: string; readonly factor: number } | undefined {
    const base = Math.abs(value) * this.toBase;
    return this.scale?.units.findLast((unit) => base >= unit.factor) ?? this.scale?.units[0];
  }
}

/** `35.71%`, `0.52%`, `1e-05%`, `100%`: the words of pprof, which has two digits at least. */
export function percentage(value: number, of: number): string {
  const ratio = of === 0 ? 0 : Math.abs(value / of) * 100;
  if (ratio >= 99.95 && ratio <= 100.05) return "100%";
  if (ratio >= 1) return `${decimal(ratio, 2)}%`;
  if (ratio === 0) return "0%";
  const exponent = Number(ratio.toExponential().split("e")[1]);
  // Below 0.0001 as C's %g writes it.
  if (exponent < -4)
    return `${ratio
      .toExponential(1)
      .replace(".0", "")
      .replace(/-(\d)$/, "-0$1")}%`;
  return `${Number(decimal(ratio, 1 - exponent))}%`;
}

/**
 * As C and Go print a number with so many decimals: what lies exactly between two goes to the even one (3.125 is 3.12),
 * where toFixed takes the larger. Shares of a few hundred samples often do.
 */
function decimal(value: number, decimals: number): string {
  // Only a multiple of 1/2^(decimals + 1) can lie exactly between two; as whole numbers nothing is rounded.
  const doubled = value * 2 ** (decimals + 1) * 5 ** decimals;
  const isTie = Number.isInteger(value * 2 ** (decimals + 1)) && Math.abs(doubled % 2) === 1;
  if (!isTie) return value.toFixed(decimals);
  const below = (doubled - 1) / 2;
  return ((below % 2 === 0 ? below : below + 1) / 10 ** decimals).toFixed(decimals);
}
