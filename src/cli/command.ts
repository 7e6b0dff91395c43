/**
 * What a command of procscope is: words, options, examples and one function. From these facts come parsing, help,
 * completion, the man page and the list of JSON schemas; nothing about a command is written twice.
 */

/** One option. `T` is what its parsed value is; a flag without an argument is an Option<boolean>. */
export interface Option<T> {
  /** As the user writes it: `-o, --output <file>`, `--json`. The long form's name is the key under which it arrives. */
  readonly flags: string;
  readonly help: string;
  /** From the word on the command line to the value; throws ProcscopeError USAGE. Absent: the word itself. */
  readonly parse?: (text: string) => T;
  readonly default?: T;
  readonly choices?: readonly string[];
  /** May be given several times; the value is then an array. */
  readonly repeat?: boolean;
  /** An alias of another option kept for users of older tools: the key that it sets. Left out of the main help. */
  readonly aliasOf?: string;
}

export type Options = Readonly<Record<string, Option<unknown>>>;

/** The parsed values: a flag is false when absent, others undefined unless they have a default. */
export type Values<O extends Options> = { readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never };

export interface Invocation<O extends Options = Options> {
  readonly options: Values<O>;
  /** The words that are not options, in order. */
  readonly operands: readonly string[];
  /** The words after `--`, or undefined where there was none: a program to start. */
  readonly program: readonly string[] | undefined;
  /** Aborted by SIGINT and SIGTERM: finish what was begun and return. */
  readonly signal: AbortSignal;
}

export interface Command<O extends Options = Options> {
  readonly name: string;
  /** Operands as help shows them: `[pid]`, `<in> <out>`. */
  readonly operands?: string;
  /** One paragraph under the usage line. */
  readonly description: string;
  readonly options: O;
  /** [command line, what it does]. */
  readonly examples: readonly (readonly [line: string, what: string])[];
  /** The `schema` member of what `--json` prints; its JSON Schema is schemas/<name>.json. */
  readonly schema?: string;
  /** Words as users of an older tool write them, into what the options say; called before anything else looks at them. */
  readonly rewrite?: (words: readonly string[]) => readonly string[];
  /** Does the work; resolves to an exit status, undefined meaning 0. */
  run(invocation: Invocation<O>): Promise<number | undefined>;
}

/** Gives the compiler the options' types; returns its argument. */
export function defineCommand<const O extends Options>(command: Command<O>): Command<O> {
  return command;
}

/** A flag without an argument. */
export function flag(flags: string, help: string): Option<boolean> {
  return { flags, help };
}

/** An option whose absence is undefined. */
export function option<T = string>(flags: string, help: string, parse?: (text: string) => T): Option<T | undefined> {
  return parse ? { flags, help, parse } : { flags, help };
}

/** An option with a default. */
export function optionWithDefault<T>(
  flags: string,
  help: string,
  fallback: NoInfer<T>,
  parse: (text: string) => T,
): Option<T> {
  return { flags, help, parse, default: fallback };
}

/** A word out of a fixed set. */
export function choice<const C extends readonly string[]>(
  flags: string,
  help: string,
  choices: C,
): Option<C[number] | undefined> {
  return { flags, help, choices };
}

/** An option that may be given several times. */
export function repeated(flags: string, help: string): Option<readonly string[]> {
  return { flags, help, repeat: true, default: [] };
}
