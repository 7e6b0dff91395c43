/**
 * From V8's raw profile to the format that the developer asked for, in a process of its own: laying out a graph would
 * hold up the program that is looked at, and at its exit there is no event loop left to do it in.
 */
import { type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ProcscopeError } from "../base/errors.ts";

/** What the converting process is told, as JSON in its only argument. */
export interface ConversionJob {
  readonly kind: "cpu" | "heap";
  readonly raw: string;
  readonly output: string;
  readonly program: string;
  readonly comments: readonly string[];
  /** Nanoseconds since 1970, decimal. */
  readonly timeNanos: string;
  readonly durationNanos: number;
  readonly collapse: boolean;
  /** Bytes between heap samples. */
  readonly period: number;
}

const CONVERTER = fileURLToPath(new URL("./converter.js", import.meta.url));
const MAX_MILLISECONDS = 60_000;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** The raw profile's file, next to the output: what is left where the conversion fails. */
export function rawPath(kind: ConversionJob["kind"], output: string): string {
  return `${output}.raw.${kind === "cpu" ? "cpuprofile" : "heapprofile"}`;
}

/** Writes a file for its owner only; whole under its name, or not at all, and never through a link that lies there. */
export function writePrivate(path: string, content: string | Uint8Array): void {
  const temporary = `${path}.${process.pid}.part`;
  rmSync(temporary, { force: true });
  const fd = openSync(temporary, "wx", 0o600);
  try {
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
}

/** Without what would make the child profile itself or listen to a debugger. */
function childOptions(): SpawnOptions {
  const { NODE_OPTIONS: _, ...env } = process.env;
  return { env: { ...env, PROCSCOPE_CONVERTING: "1" } };
}

function failed(job: ConversionJob, why: string): ProcscopeError {
  return new ProcscopeError("IO", `could not make ${job.output}: ${why.trim() || "the conversion failed"}`, {
    hint: `the raw profile is in ${job.raw}; procscope convert makes other formats of it`,
  });
}

const pending = new Set<{ readonly job: ConversionJob; readonly pid: number | undefined }>();

/** Converts while the program goes on. Rejects with IO; the raw file then stays. */
export function convert(job: ConversionJob): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CONVERTER, JSON.stringify(job)], {
      ...childOptions(),
      stdio: ["ignore", "ignore", "pipe"],
    });
    const entry = { job, pid: child.pid };
    pending.add(entry);
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      if (said.length < 4096) said += chunk.toString();
    });
    child.on("error", (error) => {
      pending.delete(entry);
      reject(failed(job, error.message));
    });
    child.on("close", (code) => {
      pending.delete(entry);
      if (code === 0) resolve(job.output);
      else reject(failed(job, said));
    });
  });
}

/** Converts now, for an exit hook. Throws IO; the raw file then stays. */
export function convertNow(job: ConversionJob): void {
  const child = spawnSync(process.execPath, [CONVERTER, JSON.stringify(job)], {
    ...childOptions(),
    stdio: ["ignore", "ignore", "pipe"],
    timeout: MAX_MILLISECONDS,
  });
  if (child.status !== 0) throw failed(job, child.error?.message ?? child.stderr?.toString() ?? "");
}

/** Waits, in an exit hook, for conversions that were begun and not awaited: the child removes its raw file at its end. */
export function awaitPending(): void {
  const until = Date.now() + MAX_MILLISECONDS;
  for (const { job, pid } of pending) {
    while (existsSync(job.raw) && pid !== undefined && isRunning(pid) && Date.now() < until) {
      Atomics.wait(sleeper, 0, 0, 10);
    }
  }
  pending.clear();
}

/** A child that ended stays as a zombie until the event loop, which is gone, reaps it. */
function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat[stat.lastIndexOf(")") + 2] !== "Z";
  } catch {
    return false;
  }
}
