import { readFileSync, statSync } from "node:fs";
import { SourceMap, type SourceMapPayload } from "node:module";
import { dirname, isAbsolute, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { CodePosition, FunctionMapper } from "../profile/v8-functions.ts";

const MAX_FILE = 64 << 20;

interface MappedFile {
  readonly map: SourceMap;
  /** What relative sources are relative to. */
  readonly base: string;
  readonly lines: readonly string[];
}

/**
 * From compiled or bundled JavaScript to its sources, by the source map that a file names in its last lines, inline or
 * beside it. A file without one, or with one that cannot be read, stays as it is.
 */
export class SourceMaps implements FunctionMapper {
  private readonly files = new Map<string, MappedFile | undefined>();

  definition(position: CodePosition): CodePosition {
    const file = this.open(position.file);
    if (!file || position.line === 0) return position;
    const found = this.find(file, position.line, Math.max(0, position.column - 1));
    if (!found) return position;
    return { ...found, name: realName(file, position, found.name) };
  }

  line(definition: CodePosition, line: number): number {
    const file = this.open(definition.file);
    if (!file) return line;
    // Of a line we know no column: its last mapping is one of the line, where the first may be of the line before.
    const found = this.find(file, line, Number.MAX_SAFE_INTEGER);
    const start = this.find(file, definition.line, Math.max(0, definition.column - 1));
    return found && found.file === start?.file ? found.line : (start?.line ?? line);
  }

  private find(file: MappedFile, line: number, column: number): CodePosition | undefined {
    const entry: object = file.map.findEntry(line - 1, column);
    if (!isMapping(entry)) return undefined;
    return {
      name: entry.name ?? "",
      file: sourcePath(entry.originalSource, file.base),
      line: entry.originalLine + 1,
      column: entry.originalColumn + 1,
    };
  }

  private open(path: string): MappedFile | undefined {
    if (!isAbsolute(path)) return undefined;
    if (!this.files.has(path)) this.files.set(path, readMap(path));
    return this.files.get(path);
  }
}

/** The source's name for a function that a minifier renamed; only where the code before its parameters is its name. */
function realName(file: MappedFile, position: CodePosition, mapped: string): string {
  const { name, line, column } = position;
  if (mapped === "" || name === "") return name;
  const before = (file.lines[line - 1] ?? "").slice(0, Math.max(0, column - 1));
  return before.endsWith(name) ? mapped : name;
}

function readMap(path: string): MappedFile | undefined {
  try {
    const text = readLimited(path);
    const last = [...text.matchAll(/^[ \t]*\/\/[#@] sourceMappingURL=(\S+)[ \t]*$/gm)].at(-1)?.[1];
    if (last === undefined) return undefined;
    const inline = /^data:application\/json[^,]*?(;base64)?,(.*)$/s.exec(last);
    const mapPath = inline ? path : resolve(dirname(path), decodeURIComponent(last));
    const json = inline
      ? Buffer.from(inline[1] ? inline[2]! : decodeURIComponent(inline[2]!), inline[1] ? "base64" : "utf8").toString()
      : readLimited(mapPath);
    const payload = JSON.parse(json) as SourceMapPayload;
    const base = resolve(dirname(mapPath), payload.sourceRoot || ".");
    // Names are looked up in the code; only bundles have long lines, and few of them.
    return { map: new SourceMap({ ...payload, sourceRoot: "" }), base, lines: text.split("\n") };
  } catch {
    return undefined;
  }
}

/** What SourceMap.findEntry returns where there is a mapping; its types leave the name out. */
interface Entry {
  readonly name?: string;
  readonly originalSource: string;
  readonly originalLine: number;
  readonly originalColumn: number;
}

function isMapping(entry: object): entry is Entry {
  return "originalSource" in entry && typeof entry.originalSource === "string";
}

function readLimited(path: string): string {
  if (statSync(path).size > MAX_FILE) throw new RangeError("too large");
  return readFileSync(path, "utf8");
}

function sourcePath(source: string, base: string): string {
  if (source.startsWith("file://")) return fileURLToPath(source);
  return /^[a-z][a-z0-9+.-]*:/i.test(source) ? source : resolve(base, source);
}
