/** The tables of layouts/ against the debugging information of real programs, and inference against both. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { amd64 } from "../../src/go/architecture.ts";
import { parseGoVersion } from "../../src/go/build-info.ts";
import { globalChecks } from "../../src/go/global-checks.ts";
import { runtimeStructs } from "../../src/go/layout.ts";
import { layoutOfDwarf } from "../../src/go/layout-dwarf.ts";
import { inferGoroutineLayout } from "../../src/go/layout-infer.ts";
import { layoutOfTable } from "../../src/go/layout-table.ts";
import { GoProcess } from "../../src/go/process.ts";
import { FileSource } from "../../src/object/byte-source.ts";
import { DwarfTypes } from "../../src/object/dwarf.ts";
import { ElfFile } from "../../src/object/elf.ts";
import { allModes, build, GoTarget } from "../support/go-target.ts";
import { currentGo, goVersions } from "../support/go-toolchain.ts";

for (const version of goVersions) {
  test(`go${version}: the table is what the debugging information says`, async () => {
    using file = FileSource.open(await build(version, "plain"));
    const types = DwarfTypes.of(new ElfFile(file));
    assert.ok(types);
    const own = layoutOfDwarf(types);
    const table = layoutOfTable(amd64, parseGoVersion(`go${version}`)!);
    assert.equal(table.exact, true);
    let compared = 0;
    for (const struct of runtimeStructs) {
      // A linker leaves out types that the program does not reach.
      for (const [path, place] of own.fields(struct)) {
        assert.deepEqual(table.field(struct, path), place, `${struct}.${path}`);
        compared++;
      }
    }
    assert.ok(compared > 500, `${compared} fields`);
  });

  test(`go${version}: g inferred from the running program is g of the table`, async () => {
    await using target = await GoTarget.start(await build(version, "pie-strip"));
    await target.ask("kinds");
    using process = GoProcess.attach(target.pid);
    const { memory, layout, modules, version: parsed } = process.runtime;
    const inferred = inferGoroutineLayout({ memory, layout, modules, version: parsed });
    assert.ok(inferred && inferred.size >= 12, `${inferred?.size} fields`);
    for (const [path, { offset }] of inferred) assert.equal(offset, layout.field("g", path)?.offset, path);
  });
}

for (const mode of allModes) {
  test(`go${currentGo} ${mode}: every global that is found by witnesses is where the symbol table has it`, async () => {
    await using target = await GoTarget.start(await build(currentGo, mode));
    using process = GoProcess.attach(target.pid);
    const { globals, evidence, version } = process.runtime;
    assert.equal(version.text, `go${currentGo}`);
    // What every reader needs; without symbols each of these passed its check.
    for (const name of ["allgs", "allm", "allp", "memstats", "mheap_", "gcController", "waitReasonStrings"] as const) {
      assert.ok(globals.has(name), name);
      const how = evidence.find(({ subject }) => subject === `global ${name}`);
      assert.ok(how && globalChecks[name] && how.checked !== "", `${name} was checked`);
    }
  });
}

/** A copy of a program whose section headers, and with them the symbol table, cannot be found. */
function withoutSections(program: string): string {
  const bytes = readFileSync(program);
  // e_shoff, e_shnum and e_shstrndx of the ELF header.
  bytes.fill(0, 40, 48);
  bytes.fill(0, 60, 64);
  const path = join(mkdtempSync(join(tmpdir(), "procscope-layouts-")), "program");
  writeFileSync(path, bytes, { mode: 0o755 });
  process.on("exit", () => rmSync(dirname(path), { recursive: true, force: true }));
  return path;
}

test("witnesses find the same addresses as the symbol table", async () => {
  // One and the same program with its symbols and without: a build with -s -w would be laid out a little differently.
  const program = await build(currentGo, "plain");
  await using plain = await GoTarget.start(program);
  await using stripped = await GoTarget.start(withoutSections(program));
  using one = GoProcess.attach(plain.pid);
  using other = GoProcess.attach(stripped.pid);
  const wrong = [...other.runtime.globals].filter(([name, address]) => one.runtime.globals.get(name) !== address);
  assert.deepEqual(wrong, []);
  assert.ok(other.runtime.globals.size >= 20, `${other.runtime.globals.size} globals`);
});
