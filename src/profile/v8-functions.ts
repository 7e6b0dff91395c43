import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import type { FunctionId, LocationId, ProfileBuilder } from "./builder.ts";

/** Where a function is defined, lines and columns from 1. */
export interface CodePosition {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** From code that ran to its source. Returns the position unchanged where there is no source map. */
export interface FunctionMapper {
  definition(position: CodePosition): CodePosition;
  /** The source line of a line of the running code, within the function at `definition` (unmapped). */
  line(definition: CodePosition, line: number): number;
}

interface Known {
  readonly position: CodePosition;
  readonly mapped: CodePosition;
  id: FunctionId | undefined;
}

/**
 * Functions of V8 profiles. V8 gives short names that many functions share ("update", "" for anonymous ones): where a
 * name stands for several functions, or for none, file and line become part of it, because pprof and most viewers tell
 * functions apart by name alone.
 */
export class V8Functions {
  private readonly builder: ProfileBuilder;
  private readonly mapper: FunctionMapper | undefined;
  private readonly known = new Map<string, Known>();
  /** How many different functions have each name. */
  private readonly names = new Map<string, number>();
  private readonly placed = new Map<string, number>();

  constructor(builder: ProfileBuilder, mapper: FunctionMapper | undefined) {
    this.builder = builder;
    this.mapper = mapper;
  }

  /** Every call frame must be seen before settle(), so that names are known to be shared. */
  see(callFrame: unknown): void {
    this.of(callFrame);
  }

  settle(): void {
    for (const { mapped } of this.known.values()) {
      this.placed.set(placedName(mapped), (this.placed.get(placedName(mapped)) ?? 0) + 1);
    }
  }

  isRoot(callFrame: unknown): boolean {
    const { position } = this.of(callFrame);
    return position.name === "(root)" && position.file === "";
  }

  /** The time in which V8 had nothing to run. */
  isIdle(callFrame: unknown): boolean {
    const { position } = this.of(callFrame);
    return position.name === "(idle)" && position.file === "";
  }

  /** The location of a call frame at a line of the running code (from 1), by default that of its definition. */
  location(callFrame: unknown, line?: number): LocationId {
    const known = this.of(callFrame);
    known.id ??= this.define(known.mapped);
    if (line === undefined || line === known.position.line) {
      return this.builder.location(known.id, known.mapped.line);
    }
    return this.builder.location(known.id, this.mapper ? this.mapper.line(known.position, line) : line);
  }

  private of(callFrame: unknown): Known {
    const position = positionOf(callFrame);
    const key = `${position.name}\0${position.file}\0${position.line}\0${position.column}`;
    const found = this.known.get(key);
    if (found) return found;
    const mapped = this.mapper?.definition(position) ?? position;
    const made = { position, mapped, id: undefined };
    this.known.set(key, made);
    this.names.set(mapped.name, (this.names.get(mapped.name) ?? 0) + 1);
    return made;
  }

  private define(position: CodePosition): FunctionId {
    const { name, file, line, column } = position;
    const unique = name !== "" && this.names.get(name) === 1;
    let shown = name;
    if (!unique && file !== "") {
      shown = placedName(position);
      // Minified code has many functions on one line.
      if (this.placed.get(shown)! > 1) shown += `:${column}`;
    }
    return this.builder.function(shown || "(anonymous)", file, line, name, column);
  }
}

function placedName({ name, file, line }: CodePosition): string {
  return `${name || "(anonymous)"} ${basename(file)}:${line}`;
}

/** The name that V8 gave, from a function's two names in the model. */
export function v8Name(name: string, systemName: string): string {
  return systemName === "" || name.startsWith(`${systemName} `) ? systemName : name;
}

function positionOf(callFrame: unknown): CodePosition {
  const frame = (typeof callFrame === "object" && callFrame !== null ? callFrame : {}) as Record<string, unknown>;
  const number = (key: string): number => {
    const value = frame[key];
    return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 31 - 1 ? value + 1 : 0;
  };
  const text = (key: string): string => {
    const value = frame[key];
    return typeof value === "string" ? value : "";
  };
  return {
    name: text("functionName"),
    file: pathOf(text("url")),
    line: number("lineNumber"),
    column: number("columnNumber"),
  };
}

function pathOf(url: string): string {
  if (!url.startsWith("file://")) return url;
  try {
    return fileURLToPath(url);
  } catch {
    return url;
  }
}
