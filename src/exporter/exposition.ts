/**
 * Writes metrics as text: Prometheus text format 0.0.4 and OpenMetrics 1.0.0. Pure: values in, text out.
 *
 * Label sets are rendered once and reused; a sample then costs one concatenation. (Rendering is a large part of a
 * scrape that reads processes in a few milliseconds.)
 *
 *     const procs = metric("namedprocess_namegroup_num_procs", "gauge", "number of processes in this group");
 *     const nginx = labelSet({ groupname: "nginx" });
 *     const writer = new ExpositionWriter("text");
 *     writer.family(procs);
 *     writer.sample(nginx, 4);
 *     writer.finish();
 */

export type ExpositionFormat = "text" | "openmetrics";
export type MetricType = "counter" | "gauge" | "summary" | "histogram" | "untyped";

/** The Content-Type of each format, as Prometheus expects it. */
export const contentType: Record<ExpositionFormat, string> = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/** A metric family. Made once by {@link metric} and kept: prefixes of samples are cached under its number. */
export interface Metric {
  /** The name of its samples, in both formats. */
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
  /** A small number of its own, the index of its prefix in each {@link LabelSet}. */
  readonly number: number;
}

let metricCount = 0;

/** Defines a metric family. Throws RangeError where the name is not one. */
export function metric(name: string, type: MetricType, help: string): Metric {
  if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name)) throw new RangeError(`not a metric name: ${name}`);
  return { name, type, help, number: metricCount++ };
}

/** Labels rendered once. */
export interface LabelSet {
  /** `a="x",b="y"`, escaped; "" for none. */
  readonly text: string;
  /** By Metric.number: `name{a="x",b="y"} `. Sparse; filled when first used. */
  readonly prefixes: string[];
}

/** Renders labels, in the order given. Throws RangeError where a name is not one. */
export function labelSet(labels: Readonly<Record<string, string>>): LabelSet {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(labels)) {
    if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name)) throw new RangeError(`not a label name: ${name}`);
    parts.push(`${name}="${escapeLabel(value)}"`);
  }
  return { text: parts.join(","), prefixes: [] };
}

/** No labels. */
export const noLabels: LabelSet = { text: "", prefixes: [] };

function escapeLabel(value: string): string {
  return value.replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`));
}

/** Where a writer puts its text: bytes that are used again for the next one, so that scrapes leave no large strings. */
export class ByteSink {
  private data: Buffer = Buffer.alloc(0);
  private length = 0;

  /** The bytes since the last clear(); valid until the next one. */
  get bytes(): Buffer {
    return this.data.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
  }

  add(text: string): void {
    // A UTF-16 unit is three bytes of UTF-8 at most.
    if (this.length + text.length * 3 > this.data.length) {
      const larger = Buffer.allocUnsafeSlow((this.length + text.length * 3) * 2);
      this.data.copy(larger, 0, 0, this.length);
      this.data = larger;
    }
    this.length += this.data.write(text, this.length);
  }
}

/** Characters after which text goes on to the sink: small enough to be freed young, large enough for few calls. */
const chunk = 4096;

export class ExpositionWriter {
  readonly format: ExpositionFormat;
  private out = "";
  private readonly sink: ByteSink | undefined;
  private current: Metric | undefined;
  private readonly written = new Set<string>();

  /** With a sink, the text goes there and finish() gives nothing. */
  constructor(format: ExpositionFormat, sink?: ByteSink) {
    this.format = format;
    this.sink = sink;
    sink?.clear();
  }

  /**
   * Begins a family: its HELP and TYPE lines; the samples that follow are of it. All samples of a family must come
   * together: throws RangeError where it was written before.
   *
   * OpenMetrics asks that samples of a counter end in `_total`. A counter that does not is written as `unknown` there,
   * so that its name is the same in both formats.
   */
  family(family: Metric): void {
    if (this.written.has(family.name)) throw new RangeError(`metric family written twice: ${family.name}`);
    this.written.add(family.name);
    this.current = family;
    let { name } = family;
    let type: string = family.type;
    let help = family.help.replace(/[\\\n]/g, (c) => (c === "\n" ? "\\n" : "\\\\"));
    if (this.format === "openmetrics") {
      help = help.replaceAll('"', '\\"');
      if (type === "untyped") type = "unknown";
      if (type === "counter") {
        if (name.endsWith("_total")) name = name.slice(0, -"_total".length);
        else type = "unknown";
      }
    }
    this.out += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
  }

  /** One sample of the current family. */
  sample(labels: LabelSet, value: number | bigint): void {
    const family = this.current!;
    let prefix = labels.prefixes[family.number];
    if (prefix === undefined) {
      prefix = labels.text === "" ? `${family.name} ` : `${family.name}{${labels.text}} `;
      labels.prefixes[family.number] = prefix;
    }
    this.out += `${prefix + formatValue(value)}\n`;
    if (this.out.length > chunk && this.sink) this.flush(this.sink);
  }

  /** A sample with a suffix to the family's name: `_sum`, `_count`, `_bucket` of summaries and histograms. */
  suffixed(suffix: "_sum" | "_count" | "_bucket", labels: LabelSet, value: number | bigint): void {
    const braces = labels.text === "" ? "" : `{${labels.text}}`;
    this.out += `${this.current!.name}${suffix}${braces} ${formatValue(value)}\n`;
  }

  /** A family of one sample without labels. */
  single(family: Metric, value: number | bigint): void {
    this.family(family);
    this.sample(noLabels, value);
  }

  /** The whole text. The writer is not to be used afterwards. */
  finish(): string {
    if (this.format === "openmetrics") this.out += "# EOF\n";
    if (this.sink) this.flush(this.sink);
    return this.out;
  }

  private flush(sink: ByteSink): void {
    sink.add(this.out);
    this.out = "";
  }
}

/** A value as both formats read it: Go's ParseFloat takes JavaScript's notation but for infinities. */
export function formatValue(value: number | bigint): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  return String(value);
}

/**
 * The format for an Accept header: OpenMetrics where the client asks for version 1.0.0 of it (or for any version) and
 * does not prefer plain text, otherwise text 0.0.4.
 */
export function negotiateFormat(accept: string | undefined): ExpositionFormat {
  let best: ExpositionFormat = "text";
  let bestQuality = 0;
  for (const part of (accept ?? "").slice(0, 4096).split(",")) {
    const [type, ...parameters] = part.split(";").map((word) => word.trim().toLowerCase());
    const parameter = (name: string): string | undefined =>
      parameters.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
    const quality = parameter("q") === undefined ? 1 : Number(parameter("q")) || 0;
    const version = parameter("version");
    let format: ExpositionFormat | undefined;
    if (type === "application/openmetrics-text" && (version === undefined || version === "1.0.0"))
      format = "openmetrics";
    else if (type === "text/plain" || type === "text/*" || type === "*/*") format = "text";
    if (format !== undefined && quality > bestQuality) {
      best = format;
      bestQuality = quality;
    }
  }
  return best;
}
