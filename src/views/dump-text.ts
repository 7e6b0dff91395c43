/**
 * Reads goroutines out of text: what runtime.Stack, /debug/pprof/goroutine?debug=2, a SIGQUIT or panic traceback and
 * `procscope dump` print, alone or in the middle of a log, with or without a log's prefix on every line; and the
 * grouped form of debug=1.
 *
 * Mirrors runtime/traceback.go (goroutineheader, traceback2, printcreatedby) and runtime/pprof printCountProfile.
 */

import type { GoroutineFacts, GoroutineSetBuilder } from "./goroutine-set.ts";
import type { GoroutineState } from "./goroutine-source.ts";

/** Lines longer than this are a log's, not a traceback's; they are looked at no further. */
const MAX_LINE = 64 << 10;
/** More frames than a traceback prints (it elides past 100), with room for `dump`'s full stacks. */
const MAX_FRAMES = 100_000;

const headerStart = /goroutine (\d+)(?: gp=\S+ m=\S+(?: mp=\S+)?)? \[/;
const position = /^\s+(.+):(\d+)(?: \+0x[0-9a-f]+)?(?: fp=.*)?\s*$/;
const groupedHead = /^(\d+) @((?: 0x[0-9a-f]+)*)\s*$/;
const groupedFrame = /^#\t0x[0-9a-f]+\t(?:(.*)\+0x[0-9a-f]+\t(.+):(\d+))?/;

/** Adds all goroutines of a text to `builder`. Returns how many it found. */
export function readDumpText(bytes: Buffer, builder: GoroutineSetBuilder): number {
  const reader = new TextReader(builder);
  for (const line of lines(bytes)) reader.line(line);
  reader.end();
  return builder.count;
}

/** Lines without their end, over the bytes: a dump may be larger than a string may. */
function* lines(bytes: Buffer): Generator<string> {
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(10, at);
    const stop = end < 0 ? bytes.length : end;
    const length = stop > at && bytes[stop - 1] === 13 ? stop - 1 : stop;
    yield length - at > MAX_LINE ? "" : bytes.toString("utf8", at, length);
    at = stop + 1;
  }
}

interface Block {
  facts: Omit<GoroutineFacts, "stack" | "creator" | "creatorId">;
  /** What a log writes before every line: as many characters as before the header, or this pattern. */
  prefix: number;
  frames: number[];
  creator: number;
  creatorId: number;
  /** A function line whose position line is still to come. */
  pending: { name: string; created: boolean; inlined: boolean } | undefined;
}

class TextReader {
  private readonly builder: GoroutineSetBuilder;
  private block: Block | undefined;
  private grouped: Block | undefined;
  private readonly seen = new Set<number>();

  constructor(builder: GoroutineSetBuilder) {
    this.builder = builder;
  }

  line(raw: string): void {
    if (this.grouped && this.groupedLine(raw)) return;
    // The test by indexOf is what makes large logs cheap: most lines are no header.
    if (raw.includes("goroutine ")) {
      const header = parseHeader(raw);
      if (header) {
        this.end();
        this.begin(header);
        return;
      }
    }
    if (this.block) this.stackLine(withoutPrefix(raw, this.block.prefix));
    else this.groupedStart(raw);
  }

  end(): void {
    const current = this.block;
    const block = current ?? this.grouped;
    this.block = undefined;
    this.grouped = undefined;
    // Goroutine 0 is a thread's scheduler stack; GOTRACEBACK=crash tells all goroutines again for each thread.
    if (!block || (block === current && (block.facts.id === 0 || this.seen.has(block.facts.id)))) return;
    if (block === current) this.seen.add(block.facts.id);
    const stack = this.builder.stack(block.frames);
    this.builder.add({ ...block.facts, stack, creator: block.creator, creatorId: block.creatorId });
  }

  private begin(header: Header): void {
    const words = header.words.split(", ");
    const minutes = words.map((word) => /^(\d+) minutes$/.exec(word)?.[1]).find((found) => found !== undefined);
    const { state, reason } = stateOf(words[0]!);
    this.block = {
      ...emptyStack(),
      prefix: header.prefix,
      facts: {
        id: header.id,
        weight: 1,
        state,
        reason,
        waitSeconds: minutes === undefined ? -1 : Number(minutes) * 60,
        lockedToThread: words.includes("locked to thread"),
        labels: header.labels === undefined ? undefined : tracebackLabels(header.labels),
      },
    };
  }

  private stackLine(line: string): void {
    const block = this.block!;
    if (line.trim() === "") {
      this.end();
      return;
    }
    const { pending } = block;
    const at = pending && /^\s/.test(line) ? position.exec(line) : undefined;
    if (pending && at) {
      const place = this.builder.place(pending.name, at[1]!, Number(at[2]), pending.inlined);
      if (pending.created) block.creator = place;
      else if (block.frames.length < MAX_FRAMES && !isWrapper(pending.name)) block.frames.push(place);
      block.pending = undefined;
      return;
    }
    // A log's own line in the middle of a traceback leaves the function line before it waiting for its position.
    const found = functionLine(line);
    if (!found) return;
    block.pending = found;
    if (found.created) block.creatorId = found.creatorId;
  }

  private groupedStart(line: string): void {
    const match = groupedHead.exec(line);
    if (!match) return;
    this.grouped = {
      ...emptyStack(),
      prefix: 0,
      facts: {
        id: 0,
        weight: Number(match[1]),
        state: "unknown",
        reason: "",
        waitSeconds: -1,
        lockedToThread: false,
      },
    };
  }

  /** False where the line does not belong to the group, which is then finished. */
  private groupedLine(line: string): boolean {
    const block = this.grouped!;
    if (line.startsWith("# labels: ")) {
      block.facts = { ...block.facts, labels: jsonLabels(line.slice(10)) };
      return true;
    }
    const match = line.startsWith("#") ? groupedFrame.exec(line) : null;
    if (!match) {
      this.end();
      return line === "";
    }
    if (match[1] && block.frames.length < MAX_FRAMES) {
      block.frames.push(this.builder.place(match[1], match[2]!, Number(match[3])));
    }
    return true;
  }
}

interface Header {
  readonly prefix: number;
  readonly id: number;
  /** State, minutes and the like, as the bracket has them. */
  readonly words: string;
  readonly labels: string | undefined;
}

/**
 * `goroutine 7 [chan receive, 5 minutes]:`, with ` labels:{…}` inside the bracket (Go 1.26) or ` {…}` behind it (1.27).
 * By indexOf, as a log may hold hostile lines that make a regular expression try every split.
 */
function parseHeader(line: string): Header | undefined {
  const match = headerStart.exec(line);
  if (!match) return undefined;
  const prefix = match.index;
  const id = Number(match[1]);
  const rest = line.slice(prefix + match[0].length).trimEnd();
  const inside = rest.indexOf(" labels:{");
  if (inside >= 0 && rest.endsWith("}]:")) {
    return { prefix, id, words: rest.slice(0, inside), labels: rest.slice(inside + 9, -3) };
  }
  const close = rest.indexOf("]");
  if (close <= 0) return undefined;
  const words = rest.slice(0, close);
  if (rest.length === close + 2 && rest.endsWith(":")) return { prefix, id, words, labels: undefined };
  if (!rest.startsWith("] {", close) || !rest.endsWith("}:")) return undefined;
  return { prefix, id, words, labels: rest.slice(close + 3, -2) };
}

function emptyStack(): Pick<Block, "frames" | "creator" | "creatorId" | "pending"> {
  return { frames: [], creator: 0, creatorId: 0, pending: undefined };
}

/** Cuts what a log wrote before the line: as many characters as before the header, where they end alike. */
function withoutPrefix(line: string, length: number): string {
  if (length === 0) return line;
  const rest = line.slice(length);
  if (/[\s\])|:]/.test(line[length - 1] ?? "")) return rest;
  // Time stamps that lose their trailing zeros change their length: cut after the stamp and its stream instead.
  return line.replace(/^\S*\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) (?:std(?:out|err) [FP] )?/, "");
}

/** `main.(*T).run(0xc000012345, {0x1, 0x2})` or `created by main.start in goroutine 1`. */
function functionLine(
  line: string,
): { name: string; created: boolean; inlined: boolean; creatorId: number } | undefined {
  if (line.startsWith("created by ")) {
    const match = /^created by (.+?)(?: in goroutine (\d+))?\s*$/.exec(line);
    return match ? { name: match[1]!, created: true, inlined: false, creatorId: Number(match[2] ?? 0) } : undefined;
  }
  // Argument words hold braces, never parentheses; a function's name may ("main.(*T).run").
  const trimmed = line.trimEnd();
  if (!trimmed.endsWith(")") || /^\s/.test(line)) return undefined;
  const open = trimmed.lastIndexOf("(");
  if (open <= 0 || !/^[\w/.]/.test(trimmed)) return undefined;
  return { name: trimmed.slice(0, open), created: false, inlined: trimmed.endsWith("(...)"), creatorId: 0 };
}

/** What SIGQUIT tracebacks show and others hide: where every stack ends, and the compiler's wrapper of a go statement. */
function isWrapper(name: string): boolean {
  return name === "runtime.goexit" || /\.gowrap\d+$/.test(name);
}

/** What the bracket of a header says first: a state's name (gStatusStrings) or else a wait reason. */
function stateOf(word: string): { state: GoroutineState; reason: string } {
  const text = word.replace(/ \(scan\)/, "");
  switch (text) {
    case "running":
    case "runnable":
    case "syscall":
    case "idle":
      return { state: text, reason: "" };
    case "waiting":
    case "copystack":
    case "preempted":
      return { state: "waiting", reason: text === "waiting" ? "" : text };
    case "???":
      return { state: "unknown", reason: "" };
    default:
      return { state: "waiting", reason: text };
  }
}

/** ` {key: value, "quoted key": "quoted value"}` of tracebacks (Go 1.26 and later, tracebacklabels=1). */
function tracebackLabels(text: string): Map<string, string> {
  const labels = new Map<string, string>();
  const word = String.raw`("(?:[^"\\]|\\.)*"|[^",:]*)`;
  for (const match of text.matchAll(new RegExp(`${word}: ${word}(?:, |$)`, "g"))) {
    labels.set(unquote(match[1]!), unquote(match[2]!));
  }
  return labels;
}

function unquote(text: string): string {
  if (!text.startsWith('"')) return text;
  try {
    return String(JSON.parse(text));
  } catch {
    // Go escapes (\x1f) that JSON does not have: keep them as they stand.
    return text.slice(1, -1);
  }
}

function jsonLabels(text: string): Map<string, string> | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== "object" || parsed === null) return undefined;
    return new Map(Object.entries(parsed).map(([key, value]) => [key, String(value)]));
  } catch {
    return undefined;
  }
}
