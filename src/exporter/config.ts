/** The configuration of groups: process-exporter's YAML file, and its flags -procnames and -namemapping. */
import { readFileSync } from "node:fs";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import { compileGoRegexp, longestMatched } from "./go-regexp.ts";
import { type NameTemplate, parseNameTemplate } from "./name-template.ts";
import { cmdlineMatcher, commMatcher, exeMatcher, type Matcher, type Rule } from "./rules.ts";

/** Reads a configuration file. Throws USAGE with the place of the mistake, or UNREADABLE. */
export async function readRuleFile(path: string): Promise<Rule[]> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new ProcscopeError("UNREADABLE", `cannot read config file ${path}: ${errnoOf(cause) ?? cause}`, { cause });
  }
  try {
    return await parseRuleFile(text);
  } catch (cause) {
    if (!(cause instanceof ProcscopeError)) throw cause;
    throw new ProcscopeError("USAGE", `error in config file ${path}: ${cause.message}`, { hint: cause.hint, cause });
  }
}

/** Parses the text of a configuration file. Keys that are not known are ignored, as by process-exporter. */
export async function parseRuleFile(text: string): Promise<Rule[]> {
  const { parse } = await import("yaml");
  let root: unknown;
  try {
    // The failsafe schema leaves every scalar the text that was written: a comm of 123 or yes is a name.
    root = parse(text, { schema: "failsafe", merge: true, maxAliasCount: 1000 });
  } catch (cause) {
    throw new ProcscopeError("USAGE", `not YAML: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  if (root === null || root === "" || root === undefined) return [];
  if (!isRecord(root)) throw new ProcscopeError("USAGE", "the file is not a mapping with process_names");
  const items = root["process_names"] ?? [];
  if (items === "") return [];
  if (!Array.isArray(items)) throw new ProcscopeError("USAGE", "process_names is not a list");
  return items.map((item, index) => parseItem(item, `process_names[${index}]`));
}

function parseItem(item: unknown, origin: string): Rule {
  if (!isRecord(item)) throw new ProcscopeError("USAGE", `${origin} is not a mapping`);
  const matchers: Matcher[] = [];
  const comm = words(item["comm"], `${origin}.comm`);
  const exe = words(item["exe"], `${origin}.exe`);
  const cmdline = words(item["cmdline"], `${origin}.cmdline`);
  if (comm) matchers.push(commMatcher(comm));
  if (exe) matchers.push(exeMatcher(exe));
  if (cmdline) matchers.push(cmdlineMatcher(cmdline.map(compileGoRegexp)));
  if (matchers.length === 0) {
    throw new ProcscopeError("USAGE", `${origin}: no matchers provided`, { hint: "give it comm, exe or cmdline" });
  }
  const name = item["name"] === undefined || item["name"] === "" ? "{{.ExeBase}}" : item["name"];
  if (typeof name !== "string") throw new ProcscopeError("USAGE", `${origin}.name is not a text`);
  return { origin, matchers, template: parseNameTemplate(name), labels: itemLabels(item["labels"], origin) };
}

function itemLabels(value: unknown, origin: string): ReadonlyMap<string, NameTemplate> {
  const labels = new Map<string, NameTemplate>();
  if (value === undefined || value === "") return labels;
  if (!isRecord(value)) throw new ProcscopeError("USAGE", `${origin}.labels is not a mapping`);
  for (const [name, template] of Object.entries(value)) labels.set(name, parseNameTemplate(String(template)));
  return labels;
}

function words(value: unknown, origin: string): string[] | undefined {
  if (value === undefined || value === "") return undefined;
  // Go's YAML takes a single text for a list of one.
  if (typeof value === "string") return [value];
  if (Array.isArray(value) && value.every((word) => typeof word === "string")) return value;
  throw new ProcscopeError("USAGE", `${origin} is not a list of texts`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The rules of -procnames (names, comma-separated) and -namemapping (alternating command names and regular expressions
 * with a group: a process of that name is called "name:group 1").
 */
export function parseNameFlags(procNames: string, nameMapping: string): Rule[] {
  const tokens = nameMapping === "" ? [] : nameMapping.split(",");
  if (tokens.length % 2 === 1) throw new ProcscopeError("USAGE", "bad namemapping: odd number of tokens");
  const rules: Rule[] = [];
  const mapped = new Set<string>();
  // Of two mappings of one name the last counts.
  for (let i = tokens.length - 2; i >= 0; i -= 2) {
    const [name, pattern] = [tokens[i]!, tokens[i + 1]!];
    if (name === "" || pattern === "") {
      throw new ProcscopeError("USAGE", `bad namemapping: token ${name === "" ? i : i + 1} is empty`);
    }
    const regexp = compileGoRegexp(pattern);
    if (mapped.has(name)) continue;
    mapped.add(name);
    rules.push(mappingRule(name, regexp));
  }
  for (const name of new Set(procNames.split(","))) {
    if (name === "" || mapped.has(name)) continue;
    const template: NameTemplate = { text: name, fixed: true, render: () => name };
    rules.push({ origin: `-procnames ${name}`, matchers: [commMatcher([name])], template, labels: new Map() });
  }
  return rules;
}

function mappingRule(name: string, regexp: RegExp): Rule {
  const firstGroup = (cmdline: readonly string[]): string | undefined =>
    regexp
      .exec(cmdline.join(" ").slice(0, longestMatched))
      ?.slice(1)
      .find((group) => group !== undefined && group !== "");
  return {
    origin: `-namemapping ${name}`,
    matchers: [
      commMatcher([name]),
      {
        matches: (process) => firstGroup(process.cmdline) !== undefined,
        description: `the command line matches ${regexp} with a group that is not empty`,
      },
    ],
    template: { text: `${name}:`, fixed: false, render: (process) => `${name}:${firstGroup(process.cmdline)}` },
    labels: new Map(),
  };
}
