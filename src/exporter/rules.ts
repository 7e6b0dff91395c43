/** Naming rules: which processes are wanted and what their groups are called. The first rule that matches wins. */
import { ProcscopeError } from "../base/errors.ts";
import type { Namer, Naming, ProcessFacts } from "../proc/process-facts.ts";
import { longestMatched } from "./go-regexp.ts";
import { goBase, type NameTemplate } from "./name-template.ts";

/** One condition of a rule. */
export interface Matcher {
  /** Whether a process fulfils it; named groups that matched are put into `captures`. */
  matches(process: ProcessFacts, captures: Map<string, string>): boolean;
  /** What it asks, for `groups --explain`. */
  readonly description: string;
}

/** The command name is one of these. */
export function commMatcher(names: readonly string[]): Matcher {
  const set = new Set(names);
  return { matches: (process) => set.has(process.comm), description: `comm is one of ${list(names)}` };
}

/** The program in argv[0]: by base name, or exactly where the entry has a slash. Several entries may share a base name. */
export function exeMatcher(entries: readonly string[]): Matcher {
  const bases = new Set(entries.filter((entry) => !entry.includes("/")));
  const paths = new Set(entries.filter((entry) => entry.includes("/")));
  return {
    matches: ({ cmdline }) => {
      const program = cmdline[0];
      return program !== undefined && (paths.has(program) || bases.has(goBase(program)));
    },
    description: `argv[0] is one of ${list(entries)}`,
  };
}

/** All of the expressions match the arguments joined by spaces. */
export function cmdlineMatcher(regexps: readonly RegExp[]): Matcher {
  return {
    matches: (process, captures) => {
      const text = process.cmdline.join(" ").slice(0, longestMatched);
      for (const regexp of regexps) {
        const match = regexp.exec(text);
        if (!match) return false;
        for (const name in match.groups) captures.set(name, match.groups[name] ?? "");
      }
      return true;
    },
    description: `the command line matches ${regexps.map(String).join(" and ")}`,
  };
}

export interface Rule {
  /** What `--explain` calls it: "process_names[2]", "-procnames". */
  readonly origin: string;
  readonly matchers: readonly Matcher[];
  readonly template: NameTemplate;
  /** Labels of the groups it makes, beyond the name. */
  readonly labels: ReadonlyMap<string, NameTemplate>;
}

/** What a rule made of a process. */
export interface RuleOutcome {
  readonly origin: string;
  readonly conditions: readonly { readonly description: string; readonly matched: boolean }[];
  readonly naming: Naming | undefined;
}

const noLabels: Readonly<Record<string, string>> = {};

export class RuleNamer implements Namer {
  private readonly rules: readonly Rule[];
  private readonly labels: ReadonlyMap<string, NameTemplate>;

  /** `labels` are put on the groups of every rule. */
  constructor(rules: readonly Rule[], labels: ReadonlyMap<string, NameTemplate> = new Map()) {
    this.rules = rules;
    this.labels = labels;
    const names = new Set([...labels.keys(), ...rules.flatMap((rule) => [...rule.labels.keys()])]);
    for (const name of names) checkLabelName(name);
  }

  get ruleCount(): number {
    return this.rules.length;
  }

  name(process: ProcessFacts): Naming | undefined {
    for (const rule of this.rules) {
      const naming = this.apply(rule, process);
      if (naming) return naming;
    }
    return undefined;
  }

  /** The groups that exist whatever runs: names without a template, of rules without labels. */
  get fixedNames(): readonly Naming[] {
    const fixed = this.rules.filter((rule) => rule.template.fixed && rule.labels.size === 0 && this.labels.size === 0);
    return fixed.map((rule) => ({ name: rule.template.text, labels: noLabels }));
  }

  /** What each rule up to the one that matched made of a process. */
  explain(process: ProcessFacts): RuleOutcome[] {
    const outcomes: RuleOutcome[] = [];
    for (const rule of this.rules) {
      const captures = new Map<string, string>();
      const conditions = rule.matchers.map((matcher) => ({
        description: matcher.description,
        matched: matcher.matches(process, captures),
      }));
      const naming = this.apply(rule, process);
      outcomes.push({ origin: rule.origin, conditions, naming });
      if (naming) break;
    }
    return outcomes;
  }

  private apply(rule: Rule, process: ProcessFacts): Naming | undefined {
    const captures = new Map<string, string>();
    for (const matcher of rule.matchers) if (!matcher.matches(process, captures)) return undefined;
    const name = rule.template.render(process, captures);
    if (rule.labels.size === 0 && this.labels.size === 0) return { name, labels: noLabels };
    const labels: Record<string, string> = {};
    for (const templates of [this.labels, rule.labels]) {
      for (const [label, template] of templates) labels[label] = template.render(process, captures);
    }
    return { name, labels };
  }
}

/** Labels that the metrics use themselves. */
const reserved = new Set(["groupname", "mode", "state", "memtype", "ctxswitchtype", "wchan", "threadname", "iomode"]);

function checkLabelName(name: string): void {
  if (/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) && !name.startsWith("__") && !reserved.has(name)) return;
  throw new ProcscopeError("USAGE", `not a label name that can be used: ${name}`, {
    hint: `letters, digits and _; not one of ${[...reserved].join(", ")}`,
  });
}

function list(words: readonly string[]): string {
  return words.length <= 8 ? words.join(", ") : `${words.slice(0, 8).join(", ")} … (${words.length})`;
}
