/** Writes what is made from the command table: man/procscope.1. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../src/base/package-root.ts";
import { manPage } from "../src/cli/man-page.ts";
import { loadAll } from "../src/cli/table.ts";

export async function generatedDocs(): Promise<ReadonlyMap<string, string>> {
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  return new Map([["man/procscope.1", manPage(await loadAll(), version)]]);
}

if (process.argv[1]?.endsWith("generate-docs.js")) {
  for (const [path, text] of await generatedDocs()) {
    mkdirSync(join(packageRoot, path, ".."), { recursive: true });
    writeFileSync(join(packageRoot, path), text);
    console.log(path);
  }
}
