/**
 * Makes dist/bin/procscope.cjs, what the `procscope` command runs, of dist/src/cli/main.js and all that it imports: Node
 * finds, reads and links a hundred small modules in some 45 ms, one file in 20 (bench/summary.ts; CommonJS because Node
 * loads it without its asynchronous loader). The library, and the threads and programs that the command starts, are the
 * single files of dist/src.
 */
import { chmodSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { build, type Plugin } from "esbuild";
import { packageRoot } from "../src/base/package-root.ts";

const source = join(packageRoot, "dist/src");

/** Keeps import.meta.url what it was before: modules find their neighbours by it. */
const ownUrls: Plugin = {
  name: "own-urls",
  setup({ onLoad }) {
    onLoad({ filter: /\/dist\/src\/.*\.js$/ }, ({ path }) => {
      const text = readFileSync(path, "utf8");
      const url = `moduleUrl(${JSON.stringify(relative(source, path))})`;
      return text.includes("import.meta.url") ? { contents: text.replaceAll("import.meta.url", url) } : undefined;
    });
  },
};

/** The one library inside; the others are loaded where they are needed. */
const inside = "commander";
const license = readFileSync(join(packageRoot, "node_modules", inside, "LICENSE"), "utf8");
const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as {
  dependencies: Record<string, string>;
  optionalDependencies: Record<string, string>;
};

const output = join(packageRoot, "dist/bin/procscope.cjs");
await build({
  entryPoints: [join(source, "cli/main.js")],
  outfile: output,
  bundle: true,
  platform: "node",
  target: "node20",
  format: "cjs",
  external: Object.keys({ ...dependencies, ...optionalDependencies }).filter((name) => name !== inside),
  plugins: [ownUrls],
  // Two thirds of the bytes; names stay, so that a stack trace can be read.
  minifyWhitespace: true,
  lineLimit: 120,
  banner: {
    js:
      `/* With ${inside}:\n${license.replaceAll("*/", "* /")}*/\n` +
      'const moduleUrl = (path) => require("node:url").pathToFileURL(require("node:path").join(__dirname, "../src", path)).href;',
  },
  logLevel: "warning",
});
chmodSync(output, 0o755);
