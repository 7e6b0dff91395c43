/** Enforces the table of rooms: a room imports only from the rooms its row names, and products never one another. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { packageRoot } from "../src/base/package-root.ts";

const below = ["base", "kernel", "object", "go", "profile", "views", "proc"];

const mayImport: Record<string, readonly string[]> = {
  base: [],
  kernel: ["base"],
  object: ["base"],
  profile: ["base"],
  go: ["base", "kernel", "object"],
  views: ["base", "object", "go", "profile"],
  proc: ["base", "kernel"],
  memdebug: below,
  goinfo: below,
  exporter: below,
  sampling: below,
  cli: [...below, "memdebug", "goinfo", "exporter", "sampling", "index.ts"],
  "index.ts": below,
};

/** Imports across products that the design names: one shared formatter or writer, each a file without other imports. */
const exceptions: readonly string[] = [];

/** Every import that breaks the table, as "file: imports file". */
export function brokenImports(root: string): string[] {
  const source = join(root, "src");
  const broken: string[] = [];
  for (const entry of readdirSync(source, { recursive: true })) {
    const file = String(entry);
    if (!file.endsWith(".ts")) continue;
    const room = file.split("/")[0]!;
    for (const [, specifier] of readFileSync(join(source, file), "utf8").matchAll(
      /(?:from|import)\s*\(?\s*"(\.[^"]+)"/g,
    )) {
      const target = relative(source, resolve(dirname(join(source, file)), specifier!));
      const other = target.split("/")[0]!;
      if (other === room || mayImport[room]?.includes(other) || exceptions.includes(`${file} > ${target}`)) continue;
      broken.push(`src/${file}: imports ${target}`);
    }
  }
  return broken;
}

if (process.argv[1]?.endsWith("check-imports.js")) {
  const broken = brokenImports(packageRoot);
  for (const line of broken) console.error(line);
  console.log(`imports: ${broken.length} against the rooms`);
  process.exitCode = broken.length === 0 ? 0 : 1;
}
