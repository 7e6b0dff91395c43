/** The formats that a profile can be written in, by the extension of the file. */
import { ProcscopeError } from "../base/errors.ts";
import { findSampleType, type Profile } from "./model.ts";

export interface EncodeOptions {
  /** What the profile is of, for formats made for people: "pid 1234 (api)". */
  readonly title?: string | undefined;
  /** The sample type to show in formats that hold one ("cpu", "inuse_space"); the profile's default otherwise. */
  readonly type?: string | undefined;
  /** Called now and then with the part that is done, 0 … 1. */
  readonly onProgress?: ((part: number) => void) | undefined;
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
  async *encode(profile, options = {}) {
    const { pprofChunks } = await import("./pprof.ts");
    yield* pprofChunks(profile, options.onProgress);
  },
};

const html: ProfileEncoder = {
  name: "html",
  extensions: [".html"],
  what: "flame graph in one page: search, zoom, inverted view, table",
  async *encode(profile, options = {}) {
    const { flameGraphChunks } = await import("./flame-graph.ts");
    yield* flameGraphChunks(profile, wantedType(profile, options), options);
  },
};

const svg: ProfileEncoder = {
  name: "svg",
  extensions: [".svg"],
  what: "call graph, as go tool pprof -svg draws it",
  async *encode(profile, options = {}) {
    const { graphSvg } = await import("./graph-drawing.ts");
    yield await graphSvg(profile, wantedType(profile, options), options.title);
  },
};

const pdf: ProfileEncoder = {
  name: "pdf",
  extensions: [".pdf"],
  what: "call graph, as go tool pprof -pdf draws it",
  async *encode(profile, options = {}) {
    const { graphPdf } = await import("./graph-pdf.ts");
    yield await graphPdf(profile, wantedType(profile, options), options.title);
  },
};

const dot: ProfileEncoder = {
  name: "dot",
  extensions: [".dot"],
  what: "call graph in Graphviz's language",
  async *encode(profile, options = {}) {
    const { dotOf } = await import("./dot.ts");
    yield dotOf(profile, wantedType(profile, options), { title: options.title });
  },
};

const speedscope: ProfileEncoder = {
  name: "speedscope",
  extensions: [".speedscope.json"],
  what: "speedscope's file format",
  async *encode(profile, options = {}) {
    const { speedscopeChunks } = await import("./speedscope.ts");
    yield* speedscopeChunks(profile, wantedType(profile, options), options.title, options.onProgress);
  },
};

const cpuprofile: ProfileEncoder = {
  name: "cpuprofile",
  extensions: [".cpuprofile"],
  what: "V8's CPU profile; Chrome's and VS Code's profile views open it",
  async *encode(profile, options = {}) {
    const { v8CpuChunks } = await import("./v8-cpu-encoder.ts");
    yield* v8CpuChunks(profile, wantedType(profile, options), options.onProgress);
  },
};

const folded: ProfileEncoder = {
  name: "folded",
  extensions: [".folded", ".collapsed"],
  what: "folded stacks, a line a stack",
  async *encode(profile, options = {}) {
    const { foldedChunks } = await import("./folded.ts");
    yield* foldedChunks(profile, wantedType(profile, options), options.onProgress);
  },
};

const text: ProfileEncoder = {
  name: "top",
  extensions: [".txt"],
  what: "table of functions, as go tool pprof -top prints it",
  async *encode(profile, options = {}) {
    const { topText } = await import("./top.ts");
    yield topText(profile, wantedType(profile, options), { title: options.title });
  },
};

/** Every format that can be written. */
export const encoders: readonly ProfileEncoder[] = [pprof, html, svg, pdf, speedscope, folded, text, cpuprofile, dot];

/** The encoder for a file by its extension. Throws USAGE with the list of extensions. */
export function encoderFor(path: string): ProfileEncoder {
  const encoder = encoders.find((one) => one.extensions.some((extension) => path.toLowerCase().endsWith(extension)));
  if (encoder) return encoder;
  throw new ProcscopeError("USAGE", `no profile format has the extension of ${path}`, {
    hint: `use one of ${encoders.flatMap((one) => one.extensions).join(" ")}`,
  });
}
