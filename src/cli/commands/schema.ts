import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../base/package-root.ts";
import { defineCommand } from "../command.ts";
import { openSink } from "../output.ts";
import { usageError } from "../parse.ts";
import { loadAll } from "../table.ts";

export const command = defineCommand({
  name: "schema",
  operands: "[command]",
  description:
    "Prints the JSON Schema of what a command's --json prints; without an operand, the commands that have one.\n" +
    "Adding a member is compatible; renaming or removing one changes the number at the end of the schema's name.",
  options: {},
  examples: [
    ["procscope schema", "the list"],
    ["procscope schema ps", "what procscope ps --json prints"],
  ],
  async run({ operands }) {
    const rows = (await loadAll()).filter((loaded) => loaded.command.schema !== undefined);
    const [name] = operands;
    if (name === undefined) {
      openSink().write(rows.map(({ row, command }) => `${row.name.padEnd(12)} ${command.schema}\n`).join(""));
      return undefined;
    }
    const found = rows.find(({ row }) => row.name === name || row.aliases?.includes(name));
    if (!found) throw usageError(command, `no schema of that name: ${name}`);
    openSink().write(readFileSync(join(packageRoot, "schemas", `${found.row.name}.json`), "utf8"));
    return undefined;
  },
});
