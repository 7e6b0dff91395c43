/** What is made from the command table is what is committed, and every command that prints JSON has a schema. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../src/base/package-root.ts";
import { shells } from "../../src/cli/completion.ts";
import { loadAll } from "../../src/cli/table.ts";
import { generatedDocs } from "../../tools/generate-docs.ts";
import { cliPath } from "../support/cli.ts";

test("generated documents are up to date (else: npm run build && node dist/tools/generate-docs.js)", async () => {
  for (const [path, text] of await generatedDocs()) {
    assert.equal(readFileSync(join(packageRoot, path), "utf8"), text, `${path} differs`);
  }
});

test("a command has --json, a schema name and a schema file, or none of them", async () => {
  for (const { row, command } of await loadAll()) {
    assert.equal(command.name, row.name);
    if ("json" in command.options) assert.ok(command.schema, `${row.name} has --json and names no schema`);
    const file = join(packageRoot, "schemas", `${row.name}.json`);
    assert.equal(existsSync(file), command.schema !== undefined, `schemas/${row.name}.json`);
    if (command.schema === undefined) continue;
    assert.match(command.schema, new RegExp(`^procscope/${row.name}/\\d+$`));
    const schema = JSON.parse(readFileSync(file, "utf8")) as { $id?: string };
    assert.equal(schema.$id, command.schema);
  }
});

test("every schema file belongs to a command, or to a library of that name", async () => {
  const names = new Set((await loadAll()).map(({ row }) => `${row.name}.json`));
  assert.deepEqual(
    readdirSync(join(packageRoot, "schemas")).filter(
      (file) => !names.has(file) && !existsSync(join(packageRoot, "src", file.replace(".json", ""))),
    ),
    [],
  );
});

test("every command has help with an example of itself", async () => {
  for (const { row, command } of await loadAll()) {
    const named = command.examples.filter(([line]) => line.includes(`procscope ${row.name}`));
    assert.ok(named.length > 0, `${row.name} has no example`);
    const help = execFileSync(process.execPath, [cliPath, row.name, "--help"], { encoding: "utf8" });
    assert.match(help, /^Usage: procscope /);
  }
});

for (const shell of shells) {
  test(`the ${shell} completion script is one that ${shell} reads`, (t) => {
    const script = execFileSync(process.execPath, [cliPath, "completion", shell], { encoding: "utf8" });
    assert.match(script, /completion/);
    const folder = mkdtempSync(join(tmpdir(), "procscope-completion-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, "script");
    writeFileSync(path, script);
    if (spawnSync(shell, ["--version"]).error) return t.skip(`${shell} is not installed`);
    const check = spawnSync(shell, ["-n", path], { encoding: "utf8" });
    assert.equal(check.status, 0, check.stderr);
    if (shell !== "bash") return;
    const line = `source ${path}; COMP_WORDS=(procscope comp); COMP_CWORD=1; _procscope; echo "\${COMPREPLY[*]}"`;
    assert.equal(execFileSync("bash", ["-c", line], { encoding: "utf8" }).trim(), "completion");
  });
}

test("biome finds nothing", () => {
  const biome = join(packageRoot, "node_modules/.bin/biome");
  const run = spawnSync(biome, ["check", "."], { cwd: packageRoot, encoding: "utf8" });
  assert.equal(run.status, 0, `${run.stdout}${run.stderr}`);
});
