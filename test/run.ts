/**
 * Runs the tests: every dist/test/<area>/*.test.js, or with --quick all but the *.full.test.js, or only the areas named.
 * First test/setup sees to what they need. Ends with the plain line `N passed, N failed, N skipped`.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { packageRoot } from "../src/base/package-root.ts";
import { cliPath } from "./support/cli.ts";

const words = process.argv.slice(2);
const quick = words.includes("--quick");
const areas = words.filter((word) => !word.startsWith("--"));
const root = join(packageRoot, "dist/test");

const files = readdirSync(root, { recursive: true })
  .map(String)
  .filter((file) => file.endsWith(".test.js") && (!quick || !file.endsWith(".full.test.js")))
  .filter((file) => areas.length === 0 || areas.some((area) => file.startsWith(area)))
  .sort()
  .map((file) => join(root, file));

const newest = Math.max(
  ...readdirSync(join(packageRoot, "dist/src"), { recursive: true }).map(
    (file) => statSync(join(packageRoot, "dist/src", String(file))).mtimeMs,
  ),
);
if (statSync(cliPath).mtimeMs < newest) {
  console.error("dist/bin/procscope.cjs is older than dist/src: npm run build");
  process.exit(1);
}

const setup = join(root, "setup/setup.js");
if (existsSync(setup)) {
  const { prepare } = (await import(setup)) as {
    prepare(options: { quick: boolean; areas: readonly string[] }): Promise<void>;
  };
  await prepare({ quick, areas });
}

const counts = { passed: 0, failed: 0, skipped: 0 };
const failures: string[] = [];
// What this process was started with, run() starts each file's process with.
process.execArgv.push("--import", join(root, "support/end.js"));
// One file at a time: many of them measure or load real processes, and two cores are all there is.
const stream = run({ files, concurrency: 1, timeout: 20 * 60_000 });
stream.on("test:pass", (event) => {
  if (event.details.type === "suite") return;
  if (event.skip !== undefined || event.todo !== undefined) counts.skipped++;
  else counts.passed++;
});
stream.on("test:fail", (event) => {
  if (event.details.type === "suite" || event.todo !== undefined) return;
  counts.failed++;
  failures.push(`${event.file ? relative(root, event.file) : ""}: ${event.name}`);
});
stream.compose(new spec()).pipe(process.stdout);
stream.on("end", () => {
  // After the reporter has written its own summary.
  setImmediate(() =>
    setTimeout(() => {
      for (const failure of failures) console.log(`failed: ${failure}`);
      console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
      process.exitCode = counts.failed > 0 || counts.passed === 0 ? 1 : 0;
    }, 50),
  );
});
