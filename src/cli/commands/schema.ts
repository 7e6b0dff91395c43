import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { packageRoot } from "../../base/package-root.ts";
import { defineCommand } from "../command.ts";
import { openSink } from "../output.ts";
import { usageError } from "../parse.ts";
import { findRow } from "../table.ts";

const folder = join(packageRoot, "schemas");

export const command = defineCommand({
  name: "schema",
  operands: "[name]",
  description:
    "Prints the JSON Schema of what a command's --json prints, or a library's output; without an operand, the list.\n" +
    "Adding a member is compatible; renaming or removing one changes the number at the end of the schema's name.",
  options: {},
  examples: [
    ["procscope schema", "the list"],
    ["procscope schema ps", "what procscope ps --json prints"],
  ],
  async run({ operands }) {
    const names = readdirSync(folder)
      .filter((file) => file.endsWith(".json"))
      .map((file) => basename(file, ".json"))
      .sort();
    const [word] = operands;
    if (word === undefined) {
      openSink().write(names.map((name) => `${name.padEnd(12)} ${schemaId(name)}\n`).join(""));
      return undefined;
    }
    const name = findRow(word)?.name ?? word;
    if (!names.includes(name)) throw usageError(command, `no schema of that name: ${word}`);
    openSink().write(readFileSync(join(folder, `${name}.json`), "utf8"));
    return undefined;
  },
});

function schemaId(name: string): string {
  const schema = JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as { $id?: string };
  return schema.$id ?? "";
}
