/** The formats that a profile can be written in, by the extension of the file. */
import { ProcscopeError } from "../base/errors.ts";
import { findSampleType, type Profile } from "./model.ts";

export interface EncodeOptions {
  /** What the profile is of, for formats made for people: "pid 1234 (api)". */
  readonly title?: string;
  /** The sample type to show in formats that hold one ("cpu", "inuse_space"); the profile's default otherwise. */
  readonly type?: string;
  /** Called now and then with the part that is done, 0 … 1. */
  readonly onProgress?: (part: number) => void;
}

export interface ProfileEncoder {
  /** "pprof", "folded", … */
  readonly name: string;
  /** With the dot; the first is the usual one. */
  readonly extensions: readonly string[];
  readonly what: string;
  /** The file's content in pieces, so that large profiles never stand in memory as one text. */
  encode(profile: Profile, options?: EncodeOptions): AsyncIterable<Uint8Array | string>;
}

/** The index of the sample type that the options ask for. Throws USAGE with the list. */
export function wantedType(profile: Profile, options: EncodeOptions): number {
  const index = findSampleType(profile, options.type);
  if (index === undefined) {
    throw new ProcscopeError("USAGE", `the profile has no sample type ${options.type}`, {
      hint: `it has: ${profile.sampleTypes.map((type) => type.type).join(", ")}`,
    });
  }
  return index;
}

const pprof: ProfileEncoder = {
  name: "pprof",
  extensions: [".pb.gz", ".pprof", ".prof"],
  what: "pprof profile.proto, gzipped; go tool pprof and most services read it",
  async *encode(profile) {
    const { pprofChunks } = await import("./pprof.ts");
    yield* pprofChunks(profile);
  },
};

const folded: ProfileEncoder = {
  name: "folded",
  extensions: [".folded", ".collapsed", ".raw"],
  what: "folded stacks, a line a stack",
  async *encode(profile, options = {}) {
    const { foldedChunks } = await import("./folded.ts");
    yield* foldedChunks(profile, wantedType(profile, options));
  },
};

/** Longer extensions stand before those they end with. */
export const encoders: readonly ProfileEncoder[] = [pprof, folded];

/** The encoder for a file by its extension. Throws USAGE with the list of extensions. */
export function encoderFor(path: string): ProfileEncoder {
  const encoder = encoders.find((one) => one.extensions.some((extension) => path.toLowerCase().endsWith(extension)));
  if (encoder) return encoder;
  throw new ProcscopeError("USAGE", `no profile format has the extension of ${path}`, {
    hint: `use one of ${encoders.flatMap((one) => one.extensions).join(" ")}`,
  });
}
