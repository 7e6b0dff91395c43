/** A folder of dumps of which only the newest are kept; readable by their owner only. */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import type { Pid } from "../base/units.ts";
import { openSink } from "./output.ts";

export class DumpFolder {
  private readonly path: string;
  private readonly prefix: string;
  private readonly keep: number;

  /** Creates the folder (0700) where it is not there. Dumps of earlier runs for the same process count as kept ones. */
  constructor(path: string, pid: Pid, keep: number) {
    this.path = path;
    this.prefix = `goroutines-${pid}-`;
    this.keep = keep;
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new ProcscopeError("IO", `cannot create ${path}: ${errnoOf(error) ?? error}`, { cause: error });
    }
  }

  /** Writes a dump whole or not at all, then removes the oldest ones. Returns the file's path. */
  write(pieces: Iterable<Uint8Array>, when: Date): string {
    // Names sort by time.
    const stamp = when.toISOString().replace(/[:.]/g, "-");
    const file = join(this.path, `${this.prefix}${stamp}.txt`);
    const sink = openSink(file);
    try {
      for (const piece of pieces) sink.write(piece);
    } catch (error) {
      sink.discard();
      throw error;
    }
    sink.close();
    this.removeOldest();
    return file;
  }

  private removeOldest(): void {
    const own = readdirSync(this.path).filter((name) => name.startsWith(this.prefix) && name.endsWith(".txt"));
    for (const name of own.sort().slice(0, Math.max(0, own.length - this.keep))) {
      rmSync(join(this.path, name), { force: true });
    }
  }
}
