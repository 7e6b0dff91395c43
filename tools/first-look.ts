/**
 * `npm start`: a first look at a real Go program. Starts the esbuild that came along as a development dependency (a
 * stripped Go binary) as a server on loopback, prints its summary, stops it, and says what to try next.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../src/base/package-root.ts";

const architecture = process.arch === "arm64" ? "arm64" : "x64";
const program = join(packageRoot, `node_modules/@esbuild/linux-${architecture}/bin/esbuild`);
const cli = join(packageRoot, "dist/bin/procscope.cjs");

/** Starts esbuild's server on a free port of loopback and waits until it listens. */
async function startServer(folder: string): Promise<ChildProcess> {
  const args = ["--serve=127.0.0.1:0", `--servedir=${folder}`, "--log-level=info"];
  const child = spawn(program, args, { stdio: ["pipe", "ignore", "pipe"] });
  let text = "";
  const listening = new Promise<void>((resolve, reject) => {
    child.stderr!.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      if (/127\.0\.0\.1:\d+/.test(text)) resolve();
    });
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`esbuild ended at once: ${text}`)));
  });
  await listening;
  return child;
}

async function main(): Promise<number> {
  if (!existsSync(program)) {
    console.error(
      `no esbuild for this machine (${program}); name a Go process: node dist/bin/procscope.cjs summary --pid N`,
    );
    return 1;
  }
  const folder = mkdtempSync(join(tmpdir(), "procscope-first-look-"));
  let server: ChildProcess | undefined;
  try {
    server = await startServer(folder);
    console.log(`esbuild, a Go program without symbols, serves as process ${server.pid}. This is what it does:`);
    console.log(`\n$ procscope summary --pid ${server.pid}`);
    const { status } = spawnSync(process.execPath, [cli, "summary", "--pid", String(server.pid)], { stdio: "inherit" });
    if (status !== 0) return status ?? 1;
  } finally {
    if (server && server.exitCode === null) {
      const exit = once(server, "exit");
      server.kill("SIGKILL");
      await exit;
    }
    rmSync(folder, { recursive: true, force: true });
  }
  console.log(`
esbuild was stopped again. Next, with a Go process of your own:

  node dist/bin/procscope.cjs ps                the Go processes of this machine
  node dist/bin/procscope.cjs summary --pid N   what its goroutines do
  node dist/bin/procscope.cjs dump --pid N      all stacks, as the process itself would print them
  node dist/bin/procscope.cjs top --pid N       the same, live
  node dist/bin/procscope.cjs doctor --pid N    what is allowed, and why something is not`);
  return 0;
}

process.exitCode = await main();
