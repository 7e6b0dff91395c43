/** Writes pprof's format: profile.proto, gzipped (https://github.com/google/pprof/blob/main/proto/profile.proto). */

import { Readable } from "node:stream";
import { createGzip, gzipSync } from "node:zlib";
import type { Label, Profile, ValueType } from "./model.ts";
import { ProtobufWriter } from "./protobuf.ts";
import { summed } from "./summed.ts";

const CHUNK = 1 << 20;
/** What runtime/pprof uses: a third of the time of the default for a tenth more bytes. */
const GZIP_LEVEL = 1;

/** The whole gzipped file at once. For profiles of usual size; {@link pprofChunks} is for any. */
export function encodePprof(profile: Profile): Buffer {
  return gzipSync(Buffer.concat([...rawChunks(profile)]), { level: GZIP_LEVEL });
}

/** The gzipped file in pieces, compressed off the main thread. */
export function pprofChunks(profile: Profile, onProgress?: (part: number) => void): AsyncIterable<Uint8Array> {
  return Readable.from(rawChunks(profile, onProgress), { objectMode: false }).pipe(createGzip({ level: GZIP_LEVEL }));
}

/** profile.proto without gzip. A profile with times loses them: samples of the same stack and labels are added up. */
export function* rawChunks(profile: Profile, onProgress: (part: number) => void = () => {}): Generator<Buffer> {
  const encoder = new Encoder(summed(profile));
  yield encoder.head();
  yield* encoder.samples(onProgress);
  yield encoder.tables();
  yield* encoder.strings();
}

class Encoder {
  private readonly profile: Profile;
  private readonly out = new ProtobufWriter();
  private readonly inner = new ProtobufWriter();
  private readonly packed = new ProtobufWriter();
  private readonly table = new Map<string, number>([["", 0]]);

  constructor(profile: Profile) {
    this.profile = profile;
  }

  private text(text: string): number {
    const known = this.table.get(text);
    if (known !== undefined) return known;
    const index = this.table.size;
    this.table.set(text, index);
    return index;
  }

  /** Writes the message that `body` makes in the inner writer. */
  private message(field: number, body: (inner: ProtobufWriter) => void): void {
    this.inner.length = 0;
    body(this.inner);
    this.out.field(field, this.inner.bytes());
  }

  private valueType(field: number, type: ValueType): void {
    this.message(field, (inner) => {
      inner.number(1, this.text(type.type));
      inner.number(2, this.text(type.unit));
    });
  }

  head(): Buffer {
    const { profile, out } = this;
    for (const type of profile.sampleTypes) this.valueType(1, type);
    out.number(7, this.text(profile.dropFrames));
    out.number(8, this.text(profile.keepFrames));
    out.number(9, profile.timeNanos);
    out.number(10, Math.round(profile.durationNanos));
    if (profile.periodType) this.valueType(11, profile.periodType);
    out.number(12, Math.round(profile.period));
    this.packed.length = 0;
    for (const comment of profile.comments) this.packed.varint(this.text(comment));
    if (profile.comments.length > 0) out.field(13, this.packed.bytes());
    if (profile.sampleTypes.length > 0) {
      out.number(14, this.text(profile.sampleTypes[profile.defaultType]?.type ?? ""));
    }
    out.number(15, this.text(profile.docUrl));
    return out.take();
  }

  *samples(onProgress: (part: number) => void): Generator<Buffer> {
    const { profile, out } = this;
    const { stack, labels, count } = profile.samples;
    const labelBytes = profile.labelSets.map((set) => this.encodeLabels(set));
    for (let row = 0; row < count; row++) {
      this.sample(stack[row]!, row, labelBytes[labels[row]!]!);
      if (out.length >= CHUNK) {
        yield out.take();
        onProgress(row / count);
      }
    }
    yield out.take();
  }

  private sample(stack: number, row: number, labels: Buffer): void {
    const { inner, packed, profile } = this;
    const { parent, location } = profile.stacks;
    inner.length = 0;
    packed.length = 0;
    for (let at = stack; at > 0; at = parent[at]!) packed.varint(location[at]! + 1);
    if (packed.length > 0) inner.field(1, packed.bytes());
    packed.length = 0;
    for (const column of profile.samples.values) packed.varint(Math.round(column[row]!));
    inner.field(2, packed.bytes());
    if (labels.length > 0) inner.raw(labels);
    this.out.field(2, inner.bytes());
  }

  private encodeLabels(labels: readonly Label[]): Buffer {
    const all = new ProtobufWriter();
    for (const label of labels) {
      const one = new ProtobufWriter();
      one.number(1, this.text(label.key));
      if ("text" in label) one.number(2, this.text(label.text));
      else {
        one.number(3, Math.round(label.number));
        one.number(4, this.text(label.unit));
      }
      all.field(3, one.bytes());
    }
    return all.take();
  }

  tables(): Buffer {
    this.mappings();
    this.locations();
    this.functions();
    return this.out.take();
  }

  private mappings(): void {
    this.profile.mappings.forEach((mapping, index) => {
      this.message(3, (inner) => {
        inner.number(1, index + 1);
        inner.number(2, mapping.start);
        inner.number(3, mapping.limit);
        inner.number(4, mapping.offset);
        inner.number(5, this.text(mapping.file));
        inner.number(6, this.text(mapping.buildId));
        inner.flag(7, mapping.hasFunctions);
        inner.flag(8, mapping.hasFilenames);
        inner.flag(9, mapping.hasLineNumbers);
        inner.flag(10, mapping.hasInlineFrames);
      });
    });
  }

  private locations(): void {
    const { locations } = this.profile;
    for (let id = 0; id < locations.count; id++) {
      this.message(4, (inner) => {
        inner.number(1, id + 1);
        inner.number(2, locations.mapping[id]! + 1);
        inner.number(3, locations.address[id]!);
        for (let at = locations.firstLine[id]!; at < locations.firstLine[id + 1]!; at++) {
          const line = this.packed;
          line.length = 0;
          line.number(1, locations.lineFunction[at]! + 1);
          line.number(2, locations.lineNumber[at]!);
          line.number(3, locations.lineColumn[at]!);
          inner.field(4, line.bytes());
        }
        inner.flag(5, locations.folded[id] === 1);
      });
    }
  }

  private functions(): void {
    const { functions } = this.profile;
    for (let id = 0; id < functions.count; id++) {
      this.message(5, (inner) => {
        inner.number(1, id + 1);
        inner.number(2, this.text(functions.name[id]!));
        inner.number(3, this.text(functions.systemName[id]!));
        inner.number(4, this.text(functions.filename[id]!));
        inner.number(5, functions.startLine[id]!);
      });
    }
  }

  *strings(): Generator<Buffer> {
    for (const text of this.table.keys()) {
      this.out.field(6, Buffer.from(text));
      if (this.out.length >= CHUNK) yield this.out.take();
    }
    yield this.out.take();
  }
}
