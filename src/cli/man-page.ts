/** The manual page procscope(1), made from the command table alone; man(7) macros. */
import type { LoadedRow } from "./completion.ts";
import { usageLine } from "./help.ts";

export function manPage(rows: readonly LoadedRow[], version: string): string {
  const lines = [
    '.\\" Made from the command table by tools/generate-docs.ts; do not edit.',
    `.TH PROCSCOPE 1 "" "procscope ${version}" "User Commands"`,
    ".SH NAME",
    "procscope \\- see inside running Linux processes, from outside, without changing or stopping them",
    ".SH SYNOPSIS",
    ".B procscope",
    ".I command",
    "[options]",
    ".SH COMMANDS",
  ];
  for (const { row } of rows)
    lines.push(".TP", `.B ${roff([row.name, ...(row.aliases ?? [])].join(", "))}`, line(row.summary));
  for (const loaded of rows) lines.push(...section(loaded));
  lines.push(".SH EXIT STATUS");
  for (const [status, meaning] of statuses) lines.push(".TP", `.B ${status}`, meaning);
  lines.push(".SH ENVIRONMENT", ".TP", ".B NO_COLOR", "no colour, also on terminals");
  lines.push(".TP", ".B FORCE_COLOR", "colour also where standard output is not a terminal");
  lines.push(".SH SEE ALSO", ".BR proc (5),", ".BR capabilities (7)");
  return `${lines.join("\n")}\n`;
}

const statuses: readonly (readonly [number, string])[] = [
  [0, "all went well"],
  [1, "a failure; standard error says which"],
  [2, "the command line is off"],
  [3, "the kernel refused; standard error names what is missing"],
  [4, "no such process, or it exited"],
  [5, "not a target that procscope can read"],
  [6, "a condition that was asked for was met"],
  [130, "interrupted"],
];

function section({ row, command }: LoadedRow): string[] {
  const lines = [`.SH "procscope ${row.name}"`, ".nf", `.B ${roff(usageLine(command))}`, ".fi"];
  lines.push(".PP", ...paragraph(command.description));
  for (const option of Object.values(command.options)) {
    if (option.aliasOf !== undefined) continue;
    const choices = option.choices ? ` (one of ${option.choices.join(", ")})` : "";
    lines.push(".TP", `.B ${roff(option.flags)}`, line(option.help + choices));
  }
  if (command.examples.length > 0) lines.push(".PP", "Examples:");
  for (const [example, what] of command.examples) lines.push(".TP", `.B ${roff(example)}`, line(what));
  if (command.schema !== undefined)
    lines.push(".PP", `The JSON of this command is described by: procscope schema ${roff(row.name)}`);
  return lines;
}

const paragraph = (text: string): string[] =>
  text
    .split("\n")
    .flatMap((one) => [line(one), ".br"])
    .slice(0, -1);

/** A line of running text: one that begins like a request is protected. */
function line(text: string): string {
  const escaped = roff(text);
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}

function roff(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("\n", " ");
}
