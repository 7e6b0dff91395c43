/** Reads pprof's format, gzipped or not. Files are untrusted: every reference is checked, sizes are bounded. */
import { gunzipSync, inflateSync } from "node:zlib";
import { Int32Column } from "../base/columns.ts";
import { type BuilderOptions, type LabelSetId, ProfileBuilder } from "./builder.ts";
import { IdMap } from "./id-map.ts";
import type { Label, Profile, ValueType } from "./model.ts";
import { malformed, ProtobufReader } from "./protobuf.ts";

/** What a compressed file may grow to: 1 GiB, far above a profile of a million deep samples. */
const MAX_RAW = 1 << 30;
const MAX_STACK = 1 << 16;

/** Undoes gzip (or zlib) where the bytes carry its magic. Throws MALFORMED. */
export function inflateProfile(bytes: Uint8Array): Uint8Array {
  const gzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
  const zlib = bytes[0] === 0x78 && ((bytes[0] << 8) | bytes[1]!) % 31 === 0;
  if (!gzip && !zlib) return bytes;
  try {
    const options = { maxOutputLength: MAX_RAW };
    return gzip ? gunzipSync(bytes, options) : inflateSync(bytes, options);
  } catch (error) {
    throw malformed(`cannot decompress it (${error instanceof Error ? error.message : error})`);
  }
}

/** Reads profile.proto. Throws MALFORMED. */
export function decodePprof(bytes: Uint8Array): Profile {
  return new Decoder(inflateProfile(bytes)).decode();
}

/** The id that the reader's last varint is: a number where it is exact. */
function idOf(reader: ProtobufReader): number | bigint {
  const id = reader.unsigned();
  return id <= Number.MAX_SAFE_INTEGER ? id : reader.exact();
}

class Decoder {
  private readonly bytes: Uint8Array;
  private readonly strings: string[] = [];
  private readonly sampleSpans = new Int32Column();
  private readonly sampleTypes: ValueType[] = [];
  private readonly functionIds = new IdMap();
  private readonly locationIds = new IdMap();
  private readonly mappingIds = new IdMap();

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  decode(): Profile {
    const spans = this.collectSpans();
    const builder = new ProfileBuilder(this.readInfo());
    for (const reader of spans.mappings) this.readMapping(reader, builder);
    for (const reader of spans.functions) this.readFunction(reader, builder);
    for (const reader of spans.locations) this.readLocation(reader, builder);
    this.readSamples(builder);
    return builder.finish();
  }

  /** One pass over the top level: the tables come after what refers to them. */
  private collectSpans(): Record<"mappings" | "functions" | "locations", ProtobufReader[]> {
    const spans = { mappings: [], functions: [], locations: [] } as Record<
      "mappings" | "functions" | "locations",
      ProtobufReader[]
    >;
    const buffer = Buffer.from(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
    for (const reader = new ProtobufReader(this.bytes); reader.next(); ) {
      if (reader.field === 2 && reader.isSpan) {
        this.sampleSpans.push(reader.start);
        this.sampleSpans.push(reader.stop);
      } else if (reader.field === 3) spans.mappings.push(reader.message());
      else if (reader.field === 4) spans.locations.push(reader.message());
      else if (reader.field === 5) spans.functions.push(reader.message());
      else if (reader.field === 6 && reader.isSpan) {
        this.strings.push(buffer.toString("utf8", reader.start, reader.stop));
      }
    }
    if (this.strings.length === 0) throw malformed("no string table; is it a pprof file?");
    if (this.strings[0] !== "") throw malformed("the string table does not begin with an empty string");
    return spans;
  }

  private text(index: number): string {
    const text = this.strings[index];
    if (text === undefined) throw malformed(`string ${index} of ${this.strings.length}`);
    return text;
  }

  private valueType(reader: ProtobufReader): ValueType {
    let type = "";
    let unit = "";
    while (reader.next()) {
      if (reader.field === 1) type = this.text(reader.unsigned());
      else if (reader.field === 2) unit = this.text(reader.unsigned());
    }
    return { type, unit };
  }

  private readInfo(): BuilderOptions {
    const info: { -readonly [K in keyof BuilderOptions]: BuilderOptions[K] } = { sampleTypes: this.sampleTypes };
    const comments: string[] = [];
    let defaultType = "";
    for (const reader = new ProtobufReader(this.bytes); reader.next(); ) {
      if (reader.field === 1) this.sampleTypes.push(this.valueType(reader.message()));
      else if (reader.field === 7) info.dropFrames = this.text(reader.unsigned());
      else if (reader.field === 8) info.keepFrames = this.text(reader.unsigned());
      else if (reader.field === 9) info.timeNanos = BigInt.asIntN(64, reader.exact());
      else if (reader.field === 10) info.durationNanos = reader.signed();
      else if (reader.field === 11) info.periodType = this.valueType(reader.message());
      else if (reader.field === 12) info.period = reader.signed();
      else if (reader.field === 13) forEachNumber(reader, (r) => comments.push(this.text(r.unsigned())));
      else if (reader.field === 14) defaultType = this.text(reader.unsigned());
      else if (reader.field === 15) info.docUrl = this.text(reader.unsigned());
    }
    if (this.sampleTypes.length === 0) throw malformed("no sample type");
    const index = this.sampleTypes.findIndex((type) => type.type === defaultType);
    // Where none is named, pprof shows the last one.
    return { ...info, comments, defaultType: index < 0 ? this.sampleTypes.length - 1 : index };
  }

  private readMapping(reader: ProtobufReader, builder: ProfileBuilder): void {
    const mapping = { start: 0n, limit: 0n, offset: 0n, file: "", buildId: "" };
    const has = { hasFunctions: false, hasFilenames: false, hasLineNumbers: false, hasInlineFrames: false };
    let id: number | bigint = 0;
    while (reader.next()) {
      if (reader.field === 1) id = idOf(reader);
      else if (reader.field === 2) mapping.start = reader.exact();
      else if (reader.field === 3) mapping.limit = reader.exact();
      else if (reader.field === 4) mapping.offset = reader.exact();
      else if (reader.field === 5) mapping.file = this.text(reader.unsigned());
      else if (reader.field === 6) mapping.buildId = this.text(reader.unsigned());
      else if (reader.field === 7) has.hasFunctions = reader.unsigned() !== 0;
      else if (reader.field === 8) has.hasFilenames = reader.unsigned() !== 0;
      else if (reader.field === 9) has.hasLineNumbers = reader.unsigned() !== 0;
      else if (reader.field === 10) has.hasInlineFrames = reader.unsigned() !== 0;
    }
    this.mappingIds.set(id, builder.mapping({ ...mapping, ...has }));
  }

  private readFunction(reader: ProtobufReader, builder: ProfileBuilder): void {
    let id: number | bigint = 0;
    let name = "";
    let systemName = "";
    let filename = "";
    let startLine = 0;
    while (reader.next()) {
      if (reader.field === 1) id = idOf(reader);
      else if (reader.field === 2) name = this.text(reader.unsigned());
      else if (reader.field === 3) systemName = this.text(reader.unsigned());
      else if (reader.field === 4) filename = this.text(reader.unsigned());
      else if (reader.field === 5) startLine = reader.signed();
    }
    this.functionIds.set(id, builder.function(name || systemName, filename, startLine, systemName));
  }

  private readLocation(reader: ProtobufReader, builder: ProfileBuilder): void {
    let id: number | bigint = 0;
    let address = 0n;
    let mapping = -1;
    let folded = false;
    const lines: number[] = [];
    while (reader.next()) {
      if (reader.field === 1) id = idOf(reader);
      else if (reader.field === 2) mapping = this.mappingIds.get(idOf(reader));
      else if (reader.field === 3) address = reader.exact();
      else if (reader.field === 4) this.readLine(reader.message(), lines);
      else if (reader.field === 5) folded = reader.unsigned() !== 0;
    }
    this.locationIds.set(id, builder.inlinedLocation(lines, { address, mapping, folded }));
  }

  private readLine(reader: ProtobufReader, lines: number[]): void {
    let fn = -1;
    let line = 0;
    let column = 0;
    while (reader.next()) {
      if (reader.field === 1) fn = this.functionIds.get(idOf(reader));
      else if (reader.field === 2) line = reader.signed();
      else if (reader.field === 3) column = reader.signed();
    }
    if (fn < 0) throw malformed("a line without a function");
    lines.push(fn, line, column);
  }

  private readSamples(builder: ProfileBuilder): void {
    const spans = this.sampleSpans.view();
    const buffer = Buffer.from(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
    const values = new Float64Array(this.sampleTypes.length);
    const stack = new Int32Column();
    /** Label sets by their bytes in the file: most samples repeat one of few. */
    const labelSets = new Map<string, LabelSetId>([["", 0]]);
    for (let i = 0; i < spans.length; i += 2) {
      const reader = new ProtobufReader(this.bytes, spans[i]!, spans[i + 1]!);
      stack.length = 0;
      let labelBytes = "";
      let count = 0;
      while (reader.next()) {
        if (reader.field === 1) this.readStack(reader, stack);
        else if (reader.field === 2) count = readValues(reader, values, count);
        else if (reader.field === 3 && reader.isSpan) {
          // With its length before it, so that two labels cannot look like one.
          labelBytes += `${reader.stop - reader.start}:${buffer.toString("latin1", reader.start, reader.stop)}`;
        }
      }
      if (count !== values.length) throw malformed(`a sample has ${count} values for ${values.length} types`);
      let labels = labelSets.get(labelBytes);
      if (labels === undefined) {
        labels = builder.labels(this.labelsOf(spans[i]!, spans[i + 1]!));
        labelSets.set(labelBytes, labels);
      }
      builder.add(builder.stack(stack.data, stack.length), values, labels);
    }
  }

  private labelsOf(start: number, stop: number): Label[] {
    const labels: Label[] = [];
    for (const reader = new ProtobufReader(this.bytes, start, stop); reader.next(); ) {
      if (reader.field === 3) labels.push(this.readLabel(reader.message()));
    }
    return labels;
  }

  private readStack(reader: ProtobufReader, stack: Int32Column): void {
    if (!reader.isSpan) stack.push(this.locationOf(reader));
    else for (const packed = reader.message(); packed.more(); ) stack.push(this.locationOf(packed));
    if (stack.length > MAX_STACK) throw malformed(`a stack deeper than ${MAX_STACK}`);
  }

  private locationOf(reader: ProtobufReader): number {
    const location = this.locationIds.get(idOf(reader));
    if (location < 0) throw malformed("a sample names a location that is not there");
    return location;
  }

  private readLabel(reader: ProtobufReader): Label {
    let key = "";
    let text: string | undefined;
    let number = 0;
    let unit = "";
    while (reader.next()) {
      if (reader.field === 1) key = this.text(reader.unsigned());
      else if (reader.field === 2) text = this.text(reader.unsigned());
      else if (reader.field === 3) number = reader.signed();
      else if (reader.field === 4) unit = this.text(reader.unsigned());
    }
    return text !== undefined ? { key, text } : { key, number, unit };
  }
}

function readValues(reader: ProtobufReader, values: Float64Array, count: number): number {
  forEachNumber(reader, (r) => {
    if (count < values.length) values[count] = r.signed();
    count++;
  });
  return count;
}

/** A repeated number field may come packed or one by one. */
function forEachNumber(reader: ProtobufReader, each: (reader: ProtobufReader) => void): void {
  if (!reader.isSpan) each(reader);
  else for (const packed = reader.message(); packed.more(); ) each(packed);
}
