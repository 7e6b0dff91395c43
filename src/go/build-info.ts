import { u64, uvarint } from "../base/bytes.ts";
import { type MemoryReader, tryRead } from "../base/memory-reader.ts";
import type { Address, Bytes } from "../base/units.ts";

/** A Go version as numbers. Development versions ("devel go1.28-abcdef") have the minor that they lead to. */
export interface GoVersion {
  /** As the toolchain writes it: "go1.26.8", "go1.25rc1", "devel go1.28-…". */
  readonly text: string;
  readonly minor: number;
  readonly patch: number;
  /** Whether it is a plain release: no development or release candidate, no GOEXPERIMENT, which may move fields. */
  readonly release: boolean;
}

/** What the linker left about the build: runtime/debug.BuildInfo, as far as it was recorded. */
export interface BuildInfo {
  /** The main package's import path ("path" line), or undefined. */
  readonly path: string | undefined;
  /** The main module and its version, or undefined where built without modules. */
  readonly module: { readonly path: string; readonly version: string } | undefined;
  readonly dependencies: readonly { readonly path: string; readonly version: string }[];
  /** -ldflags, CGO_ENABLED, GOARCH, vcs.revision …: since Go 1.18. */
  readonly settings: ReadonlyMap<string, string>;
}

/** Parses what the toolchain calls its version, or undefined where it is not one. */
export function parseGoVersion(text: string): GoVersion | undefined {
  const match = /^(?:devel )?\+?.*?go1\.(\d{1,3})(?:\.(\d{1,3}))?/.exec(text);
  if (!match || text.length > 256) return undefined;
  return {
    text,
    minor: Number(match[1]),
    patch: Number(match[2] ?? 0),
    release: /^go1\.\d+(\.\d+)?$/.test(text),
  };
}

/** "\xff Go buildinf:", the magic of debug/buildinfo. */
const magic = Buffer.from("\xff Go buildinf:", "latin1");
const mostText: Bytes = 16 << 20;

/**
 * Looks for the build information (debug/buildinfo) in the `bytes` of a program's memory that lie at `start`. Returns
 * undefined where there is none.
 */
export function findBuildInfo(
  memory: MemoryReader,
  start: Address,
  bytes: Buffer,
): { version: GoVersion; info: BuildInfo; address: Address } | undefined {
  for (let at = bytes.indexOf(magic); at >= 0; at = bytes.indexOf(magic, at + 1)) {
    const address = start + at;
    if (address % 16 !== 0) continue;
    const texts = readTexts(memory, address);
    const version = texts && parseGoVersion(texts.version);
    if (texts && version) return { version, info: parseModuleInfo(texts.info), address };
  }
  return undefined;
}

/** The two strings of the header at `address`: inline since Go 1.18 (flag 2), behind pointers before. */
function readTexts(memory: MemoryReader, address: Address): { version: string; info: string } | undefined {
  const header = tryRead(memory, address, 32);
  if (header === undefined) return undefined;
  if (header[15]! & 2) {
    const version = inlineText(memory, address + 32);
    const info = version && inlineText(memory, version.end);
    return version && { version: version.text, info: info?.text ?? "" };
  }
  if (header[14] !== 8 || header[15]! & 1) return undefined;
  const version = goString(memory, u64(header, 16));
  return version === undefined ? undefined : { version, info: goString(memory, u64(header, 24)) ?? "" };
}

function inlineText(memory: MemoryReader, address: Address): { text: string; end: Address } | undefined {
  const head = Buffer.alloc(10);
  if (memory.readInto(head, 0, 10, address) < 1) return undefined;
  let length: number;
  let used: number;
  try {
    [length, used] = uvarint(head, 0);
  } catch {
    return undefined;
  }
  const text = length <= mostText ? tryRead(memory, address + used, length) : undefined;
  return text && { text: text.toString("latin1"), end: address + used + length };
}

/** A Go string by the address of its header. */
export function goString(memory: MemoryReader, header: Address, most: Bytes = mostText): string | undefined {
  const words = tryRead(memory, header, 16);
  if (words === undefined) return undefined;
  const length = u64(words, 8);
  return length <= most ? tryRead(memory, u64(words, 0), length)?.toString("utf8") : undefined;
}

/** runtime/debug.ParseBuildInfo; the text is framed by 16 bytes on each side (cmd/go/internal/modload infoStart, infoEnd). */
export function parseModuleInfo(framed: string): BuildInfo {
  const text = framed.length >= 33 && framed.at(-17) === "\n" ? framed.slice(16, -16) : "";
  let path: string | undefined;
  let module: BuildInfo["module"];
  const dependencies: { path: string; version: string }[] = [];
  const settings = new Map<string, string>();
  for (const line of Buffer.from(text, "latin1").toString("utf8").split("\n")) {
    const [key, first = "", second = ""] = line.split("\t");
    if (key === "path") path = first;
    else if (key === "mod") module = { path: first, version: second };
    else if (key === "dep") dependencies.push({ path: first, version: second });
    else if (key === "=>" && dependencies.length > 0) dependencies.push({ ...dependencies.pop()!, version: second });
    else if (key === "build") addSetting(settings, first);
  }
  return { path, module, dependencies, settings };
}

function addSetting(settings: Map<string, string>, text: string): void {
  const match = /^("(?:[^"\\]|\\.)*"|[^=]+)=(.*)$/s.exec(text);
  if (match) settings.set(unquote(match[1]!), unquote(match[2]!));
}

function unquote(text: string): string {
  if (!text.startsWith('"')) return text.startsWith("`") ? text.slice(1, -1) : text;
  try {
    return String(JSON.parse(text));
  } catch {
    return text.slice(1, -1);
  }
}
