/** From the words of a command line to an {@link Invocation}, by commander; every error is a ProcscopeError USAGE. */
import { Command as Commander, CommanderError, Option as CommanderOption } from "commander";
import { ProcscopeError } from "../base/errors.ts";
import type { Command, Invocation, Option } from "./command.ts";

export type Parsed =
  | { readonly help: true }
  | { readonly help: false; readonly invocation: Omit<Invocation, "signal"> };

export function parseWords(command: Command, words: readonly string[]): Parsed {
  const separator = words.indexOf("--");
  const written = separator < 0 ? words : words.slice(0, separator);
  const own = command.rewrite?.(written) ?? written;
  const program = separator < 0 ? undefined : words.slice(separator + 1);
  if (own.includes("--help") || own.includes("-h")) return { help: true };

  const commander = new Commander(command.name)
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .helpOption(false)
    .allowExcessArguments(true);
  for (const option of Object.values(command.options)) commander.addOption(commanderOption(option));
  commander.argument("[operands...]");
  try {
    commander.parse(own as string[], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) throw usageError(command, error.message.replace(/^error: /, ""));
    throw error;
  }
  const values = commander.opts<Record<string, unknown>>();
  const options: Record<string, unknown> = {};
  for (const [key, option] of Object.entries(command.options)) {
    const value =
      values[commanderOption(option).attributeName()] ?? option.default ?? (takesArgument(option) ? undefined : false);
    const slot = option.aliasOf ?? key;
    if (option.aliasOf === undefined ? options[slot] === undefined : value !== undefined && value !== false)
      options[slot] = value;
  }
  const operands = commander.args;
  const expected = (command.operands ?? "").split(/\s+/).filter(Boolean);
  const variadic = expected.some((word) => word.includes("..."));
  if (operands.length > expected.length && !variadic)
    throw usageError(command, `unexpected operand: ${operands[expected.length]}`);
  if (operands.length < expected.filter((word) => word.startsWith("<")).length)
    throw usageError(command, `missing operand: ${command.operands}`);
  return { help: false, invocation: { options, operands, program } };
}

export function usageError(command: Pick<Command, "name">, message: string): ProcscopeError {
  return new ProcscopeError("USAGE", message, { hint: `procscope ${command.name} --help` });
}

export function takesArgument(option: Option<unknown>): boolean {
  return /[<[]/.test(option.flags);
}

function commanderOption(option: Option<unknown>): CommanderOption {
  const made = new CommanderOption(option.flags, option.help);
  if (option.choices) made.choices(option.choices);
  if (option.repeat)
    made.argParser((text: string, before: unknown) => [
      ...(Array.isArray(before) ? before : []),
      option.parse ? option.parse(text) : text,
    ]);
  else if (option.parse) made.argParser(option.parse);
  return made;
}
