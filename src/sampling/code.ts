/**
 * What is at an address of the sampled process: Go code, other native code, code made at run time, the kernel. Each kind
 * is a {@link CodeSource}; a {@link CodeMap} asks them in order and remembers, so that an address is resolved once.
 */
import type { Address } from "../base/units.ts";
import type { LocationId, ProfileBuilder } from "../profile/builder.ts";

/** One function at an address: several where the compiler inlined, innermost first. */
export interface CodeFrame {
  readonly name: string;
  readonly file: string;
  /** 0 where it is not known. */
  readonly line: number;
  /** Line of the definition, 0 where it is not known. */
  readonly startLine: number;
}

export interface CodeSource {
  /**
   * The frames at an address. A return address stands behind the call: `isReturn` says that the instruction before is
   * meant. An empty list is code that profiles leave out (goexit, compiler wrappers); undefined is not of this source.
   */
  frames(address: Address, isReturn: boolean): readonly CodeFrame[] | undefined;
}

/** Locations of a profile by address. */
export class CodeMap {
  readonly #builder: ProfileBuilder;
  readonly #sources: readonly CodeSource[];
  readonly #exact = new Map<Address, LocationId>();
  readonly #returns = new Map<Address, LocationId>();
  /** Addresses that no source knows. */
  unknown = 0;

  constructor(builder: ProfileBuilder, sources: readonly CodeSource[]) {
    this.#builder = builder;
    this.#sources = sources;
  }

  /** The location of an address, or -1 where profiles leave its code out. */
  location(address: Address, isReturn: boolean): LocationId {
    const known = isReturn ? this.#returns : this.#exact;
    let id = known.get(address);
    if (id === undefined) {
      id = this.#resolve(address, isReturn);
      known.set(address, id);
    }
    return id;
  }

  #resolve(address: Address, isReturn: boolean): LocationId {
    for (const source of this.#sources) {
      const frames = source.frames(address, isReturn);
      if (frames !== undefined) return frames.length === 0 ? -1 : this.#make(address, frames);
    }
    this.unknown++;
    return this.#make(address, [{ name: "[unknown]", file: "", line: 0, startLine: 0 }]);
  }

  #make(address: Address, frames: readonly CodeFrame[]): LocationId {
    const lines: number[] = [];
    for (const frame of frames)
      lines.push(this.#builder.function(frame.name, frame.file, frame.startLine), frame.line, 0);
    // A kernel address is a negative number here; the profile holds the word as unsigned.
    return this.#builder.inlinedLocation(lines, { address: BigInt(address) });
  }
}
