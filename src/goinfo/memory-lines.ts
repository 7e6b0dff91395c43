/** The lines of goinfo's mem/* files: which statistics each file holds, in which order. */

/** Statistics by their names in runtime.MemStats; undefined where the runtime has no such thing. */
export type Figures = Readonly<Record<string, unknown>>;

export const memoryFiles: readonly { readonly name: string; readonly fields: readonly string[] }[] = [
  { name: "genmem", fields: ["Alloc", "TotalAlloc", "Sys", "Lookups", "Mallocs", "Frees"] },
  { name: "heap", fields: ["HeapAlloc", "HeapSys", "HeapIdle", "HeapInuse", "HeapReleased", "HeapObjects"] },
  { name: "stack", fields: ["StackInuse", "StackSys"] },
  { name: "mspan", fields: ["MSpanInuse", "MSpanSys"] },
  { name: "mcache", fields: ["MCacheInuse", "MCacheSys"] },
  { name: "buckethash", fields: ["BuckHashSys"] },
  { name: "gc", fields: ["NextGC", "LastGC", "PauseTotalNs", "NumGC", "EnableGC", "DebugGC"] },
];

/** One line: decimal bytes or nanoseconds, one space between, "-" for what the runtime does not have. */
export function memoryLine(fields: readonly string[], figures: Figures): string {
  return `${fields.map((field) => String(figures[field] ?? "-")).join(" ")}\n`;
}

/** An object as one line of JSON; integers that may pass 2^53 are decimal strings, what is not there is null. */
export function jsonLine(value: unknown): string {
  const text = JSON.stringify(value, (_key, item: unknown) =>
    typeof item === "bigint" ? String(item) : item === undefined ? null : item,
  );
  return `${text}\n`;
}
