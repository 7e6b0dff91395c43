/** A folder that holds the newest K profiles of a process: each appears whole under its name or not at all. */
import { closeSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, ProcscopeError } from "../base/errors.ts";

export class ProfileRotation {
  readonly #folder: string;
  readonly #prefix: string;
  readonly #suffix: string;
  readonly #keep: number;

  /** Makes the folder where it is missing (0700). `prefix` tells this process's files from others'. Throws IO. */
  constructor(folder: string, prefix: string, suffix: string, keep: number) {
    this.#folder = folder;
    this.#prefix = prefix;
    this.#suffix = suffix;
    this.#keep = keep;
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    } catch (cause) {
      throw new ProcscopeError("IO", `cannot make the folder ${folder}: ${errnoOf(cause) ?? cause}`, { cause });
    }
  }

  /** Writes one profile, readable by its owner only, and removes the oldest beyond those to keep. Returns its path. */
  async write(chunks: AsyncIterable<Uint8Array | string>, takenAt: Date): Promise<string> {
    const stamp = takenAt.toISOString().replace(/[-:]/g, "").replace(".", "");
    const path = join(this.#folder, `${this.#prefix}${stamp}${this.#suffix}`);
    const temporary = `${path}.part`;
    try {
      const fd = openSync(temporary, "w", 0o600);
      try {
        for await (const chunk of chunks) writeWhole(fd, typeof chunk === "string" ? Buffer.from(chunk) : chunk);
      } finally {
        closeSync(fd);
      }
      renameSync(temporary, path);
    } catch (cause) {
      rmSync(temporary, { force: true });
      throw new ProcscopeError("IO", `cannot write ${path}: ${errnoOf(cause) ?? cause}`, { cause });
    }
    this.#prune();
    return path;
  }

  #prune(): void {
    const mine = readdirSync(this.#folder).filter(
      (name) => name.startsWith(this.#prefix) && name.endsWith(this.#suffix),
    );
    // The stamp sorts as time does.
    for (const name of mine.sort().slice(0, Math.max(0, mine.length - this.#keep)))
      rmSync(join(this.#folder, name), { force: true });
  }
}

function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
}
