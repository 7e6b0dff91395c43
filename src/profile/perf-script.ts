/**
 * The text of `perf script` (linux perf): a sample is a header line, its frames leaf first, and a blank line:
 *
 *     node 12345/12346 4512.123456:     250000 cpu-clock:ppp:
 *             7f0c2a41 read+0x11 (/usr/lib/libc.so.6)
 *             55d0c1a0 main+0x20 (/usr/bin/app)
 */
import { ProfileBuilder } from "./builder.ts";
import type { Profile } from "./model.ts";
import { malformed } from "./protobuf.ts";

const header = /^(\S.*?)\s+(\d+)(?:\/(\d+))?\s+(?:\[\d+\]\s+)?(?:[\d.]+:\s+)?(?:(\d+)\s+)?([\w./-]+?(?::[\w]+)?):\s*$/;
const frame = /^\s+([0-9a-f]+)\s+(.*?)(?:\+0x[0-9a-f]+)?(?:\s+\(([^)]*(?:\([^)]*\))?[^)]*)\))?\s*$/;
const MAX_DEPTH = 1 << 12;

/** Whether text looks like perf script's output. */
export function looksLikePerfScript(text: string): boolean {
  const lines = text.split("\n").filter((line) => !line.startsWith("#"));
  const first = lines.findIndex((line) => line.trim() !== "");
  return first >= 0 && header.test(lines[first]!) && frame.test(lines[first + 1] ?? "");
}

/** Samples and, where perf wrote it, the period's sum; the thread's name is a label. Throws MALFORMED. */
export function decodePerfScript(text: string): Profile {
  const builder = new ProfileBuilder({
    sampleTypes: [
      { type: "samples", unit: "count" },
      { type: "period", unit: "count" },
    ],
    defaultType: 0,
  });
  const reader = new PerfReader(builder);
  let start = 0;
  for (let number = 1; start <= text.length; number++) {
    const end = text.indexOf("\n", start);
    reader.line(text.slice(start, end < 0 ? text.length : end), number);
    if (end < 0) break;
    start = end + 1;
  }
  reader.flush();
  return builder.finish();
}

class PerfReader {
  private readonly builder: ProfileBuilder;
  private readonly mappings = new Map<string, number>();
  private readonly locations = new Map<string, number>();
  private stack: number[] = [];
  private labels = 0;
  private readonly values = [1, 1];
  private open = false;

  constructor(builder: ProfileBuilder) {
    this.builder = builder;
  }

  line(line: string, number: number): void {
    if (line.startsWith("#")) return;
    if (line.trim() === "") {
      this.flush();
      return;
    }
    if (/^\s/.test(line) && this.open) {
      this.frame(line, number);
      return;
    }
    const match = header.exec(line);
    if (!match) throw malformed(`line ${number} is not of perf script`);
    this.flush();
    this.open = true;
    this.labels = this.builder.labels([
      { key: "comm", text: match[1]! },
      { key: "pid", number: Number(match[2]), unit: "" },
    ]);
    this.values[1] = Number(match[4] ?? 1);
  }

  private frame(line: string, number: number): void {
    if (this.stack.length >= MAX_DEPTH) throw malformed(`line ${number}: a stack deeper than ${MAX_DEPTH}`);
    const known = this.locations.get(line);
    if (known !== undefined) {
      this.stack.push(known);
      return;
    }
    const match = frame.exec(line);
    if (!match) throw malformed(`line ${number} is not a frame of perf script`);
    const file = match[3] ?? "";
    let mapping = this.mappings.get(file);
    if (mapping === undefined) {
      mapping = this.builder.mapping({ file, hasFunctions: true });
      this.mappings.set(file, mapping);
    }
    const name = match[2] === "" || match[2] === "[unknown]" ? undefined : match[2]!;
    const lines = name === undefined ? [] : [this.builder.function(name), 0, 0];
    const location = this.builder.inlinedLocation(lines, { address: BigInt(`0x${match[1]}`), mapping });
    this.locations.set(line, location);
    this.stack.push(location);
  }

  flush(): void {
    if (!this.open) return;
    this.builder.add(this.builder.stack(this.stack), this.values, this.labels);
    this.stack = [];
    this.open = false;
  }
}
