/** Completion scripts for shells, made from the command table alone. */
import type { Command, Option } from "./command.ts";
import { takesArgument } from "./parse.ts";
import type { CommandRow } from "./table.ts";

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

/** A row of the table with its command loaded. */
export interface LoadedRow {
  readonly row: CommandRow;
  readonly command: Command;
}

interface Words {
  /** The command's name and its aliases. */
  readonly names: readonly string[];
  readonly summary: string;
  readonly options: readonly OptionWords[];
}

interface OptionWords {
  readonly long: string | undefined;
  readonly short: string | undefined;
  readonly help: string;
  readonly takesArgument: boolean;
  readonly choices: readonly string[];
  /** Whether its argument is a file or a folder. */
  readonly file: boolean;
}

export function completionScript(shell: Shell, rows: readonly LoadedRow[]): string {
  const commands = rows.map(wordsOf);
  return { bash: bashScript, zsh: zshScript, fish: fishScript }[shell](commands);
}

function wordsOf({ row, command }: LoadedRow): Words {
  const shown = Object.values(command.options).filter((option) => option.aliasOf === undefined);
  return {
    names: [row.name, ...(row.aliases ?? [])],
    summary: row.summary,
    options: [...shown.map(optionWords), optionWords({ flags: "-h, --help", help: "show options and examples" })],
  };
}

function optionWords(option: Option<unknown>): OptionWords {
  return {
    long: /--([\w.-]+)/.exec(option.flags)?.[1],
    short: /(?:^|[ ,])-(\w)\b/.exec(option.flags)?.[1],
    help: option.help,
    takesArgument: takesArgument(option),
    choices: option.choices ?? [],
    file: /[<[](file|dir|folder|path|out)/i.test(option.flags),
  };
}

const optionNames = (option: OptionWords): string[] => [
  ...(option.long ? [`--${option.long}`] : []),
  ...(option.short ? [`-${option.short}`] : []),
];

// biome-ignore-start lint/suspicious/noTemplateCurlyInString: these are the shell's own
function bashScript(commands: readonly Words[]): string {
  const lines = [
    "# bash completion of procscope; made by `procscope completion bash`",
    "_procscope() {",
    '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"',
    "  COMPREPLY=()",
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    COMPREPLY=($(compgen -W "${commands.flatMap((c) => c.names).join(" ")} help --help --version" -- "$word"))`,
    "    return",
    "  fi",
    '  case "${COMP_WORDS[1]}" in',
  ];
  for (const command of commands) lines.push(`    ${command.names.join("|")})`, ...bashCommand(command), "      ;;");
  lines.push("  esac", "}", "complete -o default -F _procscope procscope");
  return `${lines.join("\n")}\n`;
}

// biome-ignore-end lint/suspicious/noTemplateCurlyInString: see above

function bashCommand(command: Words): string[] {
  const lines = ['      case "$before" in'];
  for (const option of command.options) {
    if (!option.takesArgument) continue;
    const reply =
      option.choices.length > 0 ? `COMPREPLY=($(compgen -W "${option.choices.join(" ")}" -- "$word"))` : "COMPREPLY=()";
    lines.push(`        ${optionNames(option).join("|")}) ${reply}; return ;;`);
  }
  const names = command.options.flatMap(optionNames).join(" ");
  lines.push("      esac", `      [[ "$word" == -* ]] && COMPREPLY=($(compgen -W "${names}" -- "$word"))`);
  return lines;
}

/** Inside single quotes of all three shells' strings. */
const quoted = (text: string): string => text.replaceAll("'", "’").replaceAll("\n", " ");
const zshText = (text: string): string => quoted(text).replace(/[[\]:\\]/g, "\\$&");

function zshScript(commands: readonly Words[]): string {
  const lines = [
    "#compdef procscope",
    "# zsh completion of procscope; made by `procscope completion zsh`",
    "_procscope() {",
    "  local -a commands",
    "  commands=(",
    ...commands.flatMap((command) => command.names.map((name) => `    '${name}:${zshText(command.summary)}'`)),
    "  )",
    "  if (( CURRENT == 2 )); then",
    "    _describe command commands",
    "    return",
    "  fi",
    '  case "$words[2]" in',
  ];
  for (const command of commands) {
    lines.push(`    ${command.names.join("|")})`, "      shift words; (( CURRENT-- ))", "      _arguments \\");
    for (const option of command.options) lines.push(...zshOption(option));
    lines.push("        '*:operand:_files'", "      ;;");
  }
  lines.push(
    "  esac",
    "}",
    'if [ "$funcstack[1]" = "_procscope" ]; then _procscope "$@"; else compdef _procscope procscope; fi',
  );
  return `${lines.join("\n")}\n`;
}

function zshOption(option: OptionWords): string[] {
  const action =
    option.choices.length > 0 ? `:value:(${option.choices.join(" ")})` : option.file ? ":file:_files" : ":value: ";
  return optionNames(option).map(
    (name) => `        '*${name}[${zshText(option.help)}]${option.takesArgument ? action : ""}' \\`,
  );
}

function fishScript(commands: readonly Words[]): string {
  const names = commands.flatMap((command) => command.names);
  const lines = [
    "# fish completion of procscope; made by `procscope completion fish`",
    `set -l commands ${names.join(" ")}`,
    "complete -c procscope -n 'not __fish_seen_subcommand_from $commands' -f",
  ];
  for (const command of commands) {
    for (const name of command.names)
      lines.push(
        `complete -c procscope -n 'not __fish_seen_subcommand_from $commands' -f -a ${name} -d '${quoted(command.summary)}'`,
      );
    const seen = `-n '__fish_seen_subcommand_from ${command.names.join(" ")}'`;
    for (const option of command.options) lines.push(fishOption(seen, option));
  }
  // The condition above is written with a variable that is only set while this file is read.
  return `${lines.join("\n").replaceAll("$commands", names.join(" "))}\n`;
}

function fishOption(seen: string, option: OptionWords): string {
  const parts = [`complete -c procscope ${seen}`];
  if (option.long) parts.push(`-l ${option.long}`);
  if (option.short) parts.push(`-s ${option.short}`);
  if (option.takesArgument) parts.push(option.file ? "-r" : "-x");
  if (option.choices.length > 0) parts.push(`-a '${option.choices.join(" ")}'`);
  parts.push(`-d '${quoted(option.help)}'`);
  return parts.join(" ");
}
