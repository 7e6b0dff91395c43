/** Flags as Go programs take them, into the ones that commander understands. */
import { ProcscopeError } from "../base/errors.ts";

/** The flags of process-exporter v0.8.7 that are on or off. */
export const goBoolFlags = [
  "children",
  "threads",
  "gather-smaps",
  "man",
  "recheck",
  "debug",
  "version",
  "remove-empty-groups",
] as const;

/** Those with a value. */
export const goValueFlags = [
  "web.listen-address",
  "web.telemetry-path",
  "once-to-stdout-delay",
  "procnames",
  "procfs",
  "namemapping",
  "config.path",
  "web.config.file",
  "recheck-with-time-limit",
] as const;

/**
 * Rewrites `-name value`, `-name=value`, `--name=value`, `-bool` and `-bool=false` into `--name=value`, in the way of
 * Go's flag package: a flag that is on or off never takes the next word. `boolFlags` and `valueFlags` are names without
 * dashes; what is none of them is left as it is.
 */
export function rewriteGoFlags(
  words: readonly string[],
  boolFlags: ReadonlySet<string>,
  valueFlags: ReadonlySet<string>,
): string[] {
  const rewritten: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const match = /^--?([A-Za-z][\w.-]*)(?:=([\s\S]*))?$/.exec(word);
    const name = match?.[1] ?? "";
    const value = match?.[2];
    if (boolFlags.has(name)) rewritten.push(`--${name}=${value ?? "true"}`);
    else if (!valueFlags.has(name)) rewritten.push(word);
    else if (value !== undefined) rewritten.push(`--${name}=${value}`);
    else {
      const next = words[++i];
      if (next === undefined) throw new ProcscopeError("USAGE", `flag needs an argument: -${name}`);
      rewritten.push(`--${name}=${next}`);
    }
  }
  return rewritten;
}

/** Go's strconv.ParseBool. Throws USAGE. */
export function parseGoBool(text: string): boolean {
  if (/^(1|t|T|true|TRUE|True)$/.test(text)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(text)) return false;
  throw new ProcscopeError("USAGE", `not a boolean: ${JSON.stringify(text)}`, { hint: "write true or false" });
}
