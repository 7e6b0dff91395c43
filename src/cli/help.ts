/** Help texts, made from the command table alone. */
import type { Command } from "./command.ts";
import { commandTable } from "./table.ts";

const width = 30;

export function topHelp(): string {
  const lines = [
    "procscope: see inside running Linux processes, from outside, without changing or stopping them",
    "",
    "Usage: procscope <command> [options]",
    "",
  ];
  for (const group of [...new Set(commandTable.map((row) => row.group))]) {
    lines.push(`${group}:`);
    for (const row of commandTable.filter((row) => row.group === group)) {
      lines.push(`  ${[row.name, ...(row.aliases ?? [])].join(", ").padEnd(18)} ${row.summary}`);
    }
    lines.push("");
  }
  lines.push("  procscope <command> --help shows its options with examples; procscope --version prints the version.");
  return `${lines.join("\n")}\n`;
}

export function usageLine(command: Command): string {
  return [
    "procscope",
    command.name,
    command.operands,
    Object.keys(command.options).length > 0 ? "[options]" : undefined,
  ]
    .filter(Boolean)
    .join(" ");
}

export function commandHelp(command: Command): string {
  const lines = [`Usage: ${usageLine(command)}`, "", command.description, ""];
  const shown = Object.values(command.options).filter((option) => option.aliasOf === undefined);
  if (shown.length > 0) lines.push("Options:");
  for (const option of shown) {
    const notes = [option.choices && `one of ${option.choices.join(", ")}`, showDefault(option.default)]
      .filter(Boolean)
      .join("; ");
    const help = notes ? `${option.help} (${notes})` : option.help;
    lines.push(
      option.flags.length < width
        ? `  ${option.flags.padEnd(width)} ${help}`
        : `  ${option.flags}\n  ${"".padEnd(width)} ${help}`,
    );
  }
  const aliases = Object.values(command.options).filter((option) => option.aliasOf !== undefined);
  if (aliases.length > 0) lines.push(`  Also accepted: ${aliases.map((option) => option.flags).join("; ")}`);
  if (command.examples.length > 0) {
    lines.push("", "Examples:");
    for (const [line, what] of command.examples) lines.push(`  ${line}`, `      ${what}`);
  }
  return `${lines.join("\n")}\n`;
}

function showDefault(value: unknown): string | undefined {
  if (value === undefined || value === false || (Array.isArray(value) && value.length === 0)) return undefined;
  return `default ${String(value)}`;
}
