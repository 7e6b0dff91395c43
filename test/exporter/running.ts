/** A running exporter, by its own command line, for tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cliPath } from "../support/cli.ts";

export interface RunningProgram extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly port: number;
  readonly url: string;
  /** What it wrote to standard error so far. */
  log(): string;
}

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const { createServer } = await import("node:net");
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts a program that listens on a port of this machine and waits until it does. */
export async function startListening(program: string, words: readonly string[], port: number): Promise<RunningProgram> {
  const child = spawn(program, words, { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr!.on("data", (data) => {
    log += data;
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 8_000);
    await ended;
    clearTimeout(timer);
  };
  for (const end = performance.now() + 60_000; performance.now() < end; ) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${program} ended: ${log}`);
    if (await accepts(port)) {
      return { child, port, url: `http://127.0.0.1:${port}`, log: () => log, [Symbol.asyncDispose]: stop };
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  await stop();
  throw new Error(`${program} does not listen: ${log}`);
}

/** Starts `procscope exporter` on a free port of the loopback. */
export async function startExporter(...words: string[]): Promise<RunningProgram> {
  const port = await freePort();
  return await startListening(
    process.execPath,
    [cliPath, "exporter", `-web.listen-address=127.0.0.1:${port}`, ...words],
    port,
  );
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** A folder for the files of one test. */
export class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "procscope-exporter-"));

  file(name: string, text: string): string {
    const path = join(this.path, name);
    writeFileSync(path, text);
    return path;
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Samples of a text exposition: "name{labels sorted}" to value. */
export function samplesOf(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const labels = [...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((m) => m[0]).sort();
    samples.set(
      labels.length > 0 ? `${match[1]}{${labels.join(",")}}` : match[1]!,
      Number(match[3]!.replace("Inf", "Infinity")),
    );
  }
  return samples;
}

/** TYPE of each family. */
export function typesOf(text: string): Map<string, string> {
  return new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((m) => [m[1]!, m[2]!]));
}

export async function scrape(url: string): Promise<string> {
  const response = await fetch(`${url}/metrics`);
  if (response.status !== 200) throw new Error(`scrape: ${response.status}`);
  return await response.text();
}

/** The configuration that groups everything by its name. */
export const byName = `process_names: [{name: "{{.Comm}}", cmdline: [".+"]}]\n`;
