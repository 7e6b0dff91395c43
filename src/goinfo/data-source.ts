/** Folders of files that a program adds beside mem and st. */
import { ProcscopeError } from "../base/errors.ts";

/** One folder. Each method may answer at once or with a promise; it runs in the program's main thread. */
export interface DataSource {
  /** The folder's name. */
  readonly name: string;
  /** The names of its files, as they are now. */
  listing(): readonly string[] | Promise<readonly string[]>;
  /** A whole file; undefined where there is none of that name. */
  contents(file: string): Contents | undefined | Promise<Contents | undefined>;
  /** What stat(2) shows of a file; absent, the size is 0 and the time is now, as in procfs. */
  metadata?(file: string): Metadata | undefined | Promise<Metadata | undefined>;
}

export type Contents = string | Uint8Array;

export interface Metadata {
  readonly size?: number;
  readonly mtime?: Date | number;
}

/** From the thread that serves to the main thread. */
export interface SourceQuestion {
  readonly number: number;
  readonly ask: "list" | "contents" | "metadata";
  readonly source: string;
  readonly file: string;
}

/** And back. `mtime` of metadata is in seconds since 1970. */
export type SourceAnswer =
  | { readonly number: number; readonly value: unknown }
  | { readonly number: number; readonly error: string };

/** The names of all sources, whenever they change. */
export interface SourceNames {
  readonly names: readonly string[];
}

const taken = new Set(["mem", "st", "info"]);

/** Throws USAGE where the source cannot be a folder of the tree. */
export function checkSource(source: DataSource): void {
  const { name } = source;
  if (!isFileName(name)) throw new ProcscopeError("USAGE", `not a folder name: ${JSON.stringify(name)}`);
  if (taken.has(name)) throw new ProcscopeError("USAGE", `${name} is a folder of goinfo itself`);
  if (typeof source.listing !== "function" || typeof source.contents !== "function") {
    throw new ProcscopeError("USAGE", `source ${name} needs the functions listing and contents`);
  }
}

/** Whether a name can be one component of a path. */
export function isFileName(name: unknown): name is string {
  return (
    typeof name === "string" &&
    name !== "" &&
    name !== "." &&
    name !== ".." &&
    !/[/\0]/.test(name) &&
    Buffer.byteLength(name) <= 255
  );
}

/** Answers a question in the main thread. */
export async function answerQuestion(
  sources: ReadonlyMap<string, DataSource>,
  question: SourceQuestion,
): Promise<SourceAnswer> {
  const { number, ask, file } = question;
  try {
    const source = sources.get(question.source);
    if (source === undefined) return { number, value: undefined };
    if (ask === "list") return { number, value: [...(await source.listing())].filter(isFileName) };
    if (ask === "contents") return { number, value: await source.contents(file) };
    const metadata = await source.metadata?.(file);
    const mtime = metadata?.mtime;
    return {
      number,
      value: metadata && { size: metadata.size, mtime: mtime instanceof Date ? mtime.getTime() / 1000 : mtime },
    };
  } catch (error) {
    return { number, error: `${question.source}/${file}: ${error instanceof Error ? error.message : String(error)}` };
  }
}
