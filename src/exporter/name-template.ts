/**
 * The part of Go's text/template that group names are written in: fields, `.Matches.NAME`, `index .Cgroups N`,
 * `.StartTime.Unix`, `if`/`else`/`end` on a field, trimming `{{-` `-}}` and comments. Anything else is refused when the
 * configuration is read, never printed wrong.
 */
import { ProcscopeError } from "../base/errors.ts";
import type { ProcessFacts } from "../proc/process-facts.ts";

type Render = (process: ProcessFacts, matches: ReadonlyMap<string, string>) => string;

export interface NameTemplate {
  readonly text: string;
  /** Whether it gives the same for every process. */
  readonly fixed: boolean;
  render: Render;
}

/** Parses a template. Throws USAGE. */
export function parseNameTemplate(text: string): NameTemplate {
  const pieces = tokens(text);
  const parser = new Parser(text, pieces);
  const render = parser.sequence(false);
  return { text, fixed: pieces.every((piece) => piece.action === undefined), render };
}

interface Piece {
  readonly literal?: string;
  readonly action?: string;
}

function tokens(text: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  let trimNext = false;
  for (const match of text.matchAll(/\{\{(- )?([\s\S]*?)( -)?\}\}/g)) {
    let literal = text.slice(at, match.index);
    if (trimNext) literal = literal.trimStart();
    if (match[1]) literal = literal.trimEnd();
    if (literal) pieces.push({ literal });
    const action = match[2]!.trim();
    if (!/^\/\*[\s\S]*\*\/$/.test(action)) pieces.push({ action });
    trimNext = match[3] !== undefined;
    at = match.index + match[0].length;
  }
  let rest = text.slice(at);
  if (rest.includes("{{")) throw bad(text, "an unclosed {{");
  if (trimNext) rest = rest.trimStart();
  if (rest) pieces.push({ literal: rest });
  return pieces;
}

class Parser {
  private at = 0;
  private readonly text: string;
  private readonly pieces: readonly Piece[];

  constructor(text: string, pieces: readonly Piece[]) {
    this.text = text;
    this.pieces = pieces;
  }

  /** Everything up to the end, or inside an `if` up to its `else` or `end`. */
  sequence(inside: boolean): Render {
    const parts: Render[] = [];
    for (; this.at < this.pieces.length; this.at++) {
      const { literal, action } = this.pieces[this.at]!;
      if (literal !== undefined) parts.push(() => literal);
      else if (inside && (action === "else" || action === "end")) return join(parts);
      else if (action!.startsWith("if ")) parts.push(this.condition(action!.slice(3).trim()));
      else parts.push(field(this.text, action!));
    }
    if (inside) throw bad(this.text, "an if without end");
    return join(parts);
  }

  private condition(word: string): Render {
    const test = field(this.text, word);
    this.at++;
    const yes = this.sequence(true);
    let no: Render = () => "";
    if (this.pieces[this.at]!.action === "else") {
      this.at++;
      no = this.sequence(true);
    }
    return (process, matches) => {
      const value = test(process, matches);
      return value !== "" && value !== "[]" && value !== "0" ? yes(process, matches) : no(process, matches);
    };
  }
}

function join(parts: readonly Render[]): Render {
  if (parts.length === 1) return parts[0]!;
  return (process, matches) => parts.map((part) => part(process, matches)).join("");
}

/** The last element of a path as Go's filepath.Base has it. */
export function goBase(path: string): string {
  if (path === "") return ".";
  const trimmed = path.replace(/\/+$/, "");
  return trimmed === "" ? "/" : trimmed.slice(trimmed.lastIndexOf("/") + 1);
}

const fields: Record<string, Render> = {
  ".Comm": (process) => process.comm,
  ".ExeBase": (process) => (process.cmdline.length > 0 ? goBase(process.cmdline[0]!) : process.comm),
  ".ExeFull": (process) => process.cmdline[0] ?? process.comm,
  ".Username": (process) => process.username,
  ".PID": (process) => String(process.pid),
  ".StartTime": (process) => goTime(process.startTime),
  ".StartTime.Unix": (process) => String(Math.floor(process.startTime)),
  ".Cgroups": (process) => `[${process.cgroups.join(" ")}]`,
  ".Matches": (_process, matches) => {
    const names = [...matches.keys()].sort();
    return `map[${names.map((name) => `${name}:${matches.get(name)}`).join(" ")}]`;
  },
};

/** Fields that process-exporter does not have. */
const ownFields: Record<string, Render> = {
  ".Exe": (process) => process.exe,
  ".ContainerID": (process) => containerId(process.cgroups),
  ".PodID": (process) => podId(process.cgroups),
  ".SystemdUnit": (process) => systemdUnit(process.cgroups),
};

function field(text: string, word: string): Render {
  const known = fields[word] ?? ownFields[word];
  if (known) return known;
  const match = /^\.Matches\.(\w+)$/.exec(word) ?? /^index \.Matches "(\w+)"$/.exec(word);
  if (match) return (_process, matches) => matches.get(match[1]!) ?? "";
  const index = /^\(?index \.Cgroups (\d+)\)?$/.exec(word);
  if (index) return (process) => process.cgroups[Number(index[1])] ?? "";
  throw bad(text, `{{${word}}}`);
}

function bad(text: string, what: string): ProcscopeError {
  const names = [...Object.keys(fields), ...Object.keys(ownFields)].join(" ");
  return new ProcscopeError("USAGE", `bad name template ${JSON.stringify(text)}: ${what}`, {
    hint: `known are ${names} .Matches.NAME, index .Cgroups N, if, else and end`,
  });
}

/** A time as Go prints it: "2017-10-19 22:52:51.19 +0000 UTC". */
function goTime(seconds: number): string {
  const [date, time] = new Date(Math.round(seconds * 1000)).toISOString().replace("Z", "").split("T");
  return `${date} ${time!.replace(/\.?0+$/, (zeros) => (zeros.startsWith(".") ? "" : zeros.replace(/0+$/, "")))} +0000 UTC`;
}

/** The id of the container that a process runs in, by what Docker, containerd, CRI-O and podman call their cgroups. */
export function containerId(cgroups: readonly string[]): string {
  for (const path of cgroups) {
    const id = /(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:\/|$)/.exec(path);
    if (id) return id[1]!;
  }
  return "";
}

/** The uid of the Kubernetes pod that a process runs in. */
export function podId(cgroups: readonly string[]): string {
  for (const path of cgroups) {
    const id = /pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})/.exec(path);
    if (id) return id[1]!.replaceAll("_", "-");
  }
  return "";
}

/** The innermost systemd unit that a process belongs to. */
export function systemdUnit(cgroups: readonly string[]): string {
  for (const path of cgroups) {
    const units = path.split("/").filter((part) => /\.(service|scope|socket|mount|swap)$/.test(part));
    if (units.length > 0) return units.at(-1)!;
  }
  return "";
}
