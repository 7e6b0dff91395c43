/**
 * Regular expressions in Go's syntax (RE2) as JavaScript ones: process-exporter's configuration is written in it.
 *
 * Unlike RE2, JavaScript's engine may take exponential time for patterns such as `(a+)+b`; the text that is matched is
 * therefore cut (see {@link longestMatched}).
 */
import { ProcscopeError } from "../base/errors.ts";

/** Characters of a command line that rules look at. */
export const longestMatched = 16_384;

const posixClasses: Record<string, string> = {
  alnum: "0-9A-Za-z",
  alpha: "A-Za-z",
  ascii: "\\x00-\\x7F",
  blank: "\\t ",
  cntrl: "\\x00-\\x1F\\x7F",
  digit: "0-9",
  graph: "!-~",
  lower: "a-z",
  print: " -~",
  punct: "!-\\/:-@\\[-`{-~",
  space: "\\t\\n\\v\\f\\r ",
  upper: "A-Z",
  word: "0-9A-Za-z_",
  xdigit: "0-9A-Fa-f",
};

/** Compiles a pattern. Throws USAGE where it is not one, or uses what JavaScript has no words for. */
export function compileGoRegexp(pattern: string): RegExp {
  let flags = "";
  let source = pattern;
  const leading = /^\(\?([ims]+)\)/.exec(source);
  if (leading) {
    flags = [...new Set(leading[1]!)].join("");
    source = source.slice(leading[0].length);
  }
  try {
    return new RegExp(translate(source), flags);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ProcscopeError("USAGE", `bad regular expression ${JSON.stringify(pattern)}: ${reason}`, { cause });
  }
}

function translate(source: string): string {
  return source
    .replace(/\\Q([\s\S]*?)(?:\\E|$)/g, (_all, literal: string) => literal.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"))
    .replace(/\\([\s\S])|\(\?P<|\[:(\^?)(\w+):\]/g, (all, escaped?: string, not?: string, posix?: string) => {
      if (all === "(?P<") return "(?<";
      if (posix !== undefined) return not ? all : (posixClasses[posix] ?? all);
      if (escaped === "A") return "(?<![\\s\\S])";
      if (escaped === "z") return "(?![\\s\\S])";
      if (escaped === "a") return "\\x07";
      return all;
    });
}
