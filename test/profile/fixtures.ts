/** Real profiles, made by the programs that write them; each once a test run. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../src/base/package-root.ts";
import type { Label, Profile } from "../../src/profile/model.ts";
import { decodeProfile } from "../../src/profile/readers.ts";

export const scratch: string = mkdtempSync(join(tmpdir(), "procscope-profile-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));

/** The reason to skip a test that needs `command`, or false. */
export function missing(command: string): string | false {
  return spawnSync("sh", ["-c", `command -v ${command}`]).status === 0 ? false : `${command} is not installed here`;
}

const made = new Map<string, string>();

/** A profile of a Go program, by Go's own runtime/pprof. */
export function goProfile(kind: "cpu" | "heap" | "goroutine"): string {
  return once(`go-${kind}`, () => {
    const binary = once("binary", () => {
      const path = join(scratch, "profiled");
      execFileSync("go", ["build", "-o", path, "."], { cwd: join(packageRoot, "targets/profiled"), stdio: "pipe" });
      return path;
    });
    const path = join(scratch, `${kind}.pb.gz`);
    execFileSync(binary, [kind, path]);
    return path;
  });
}

/** A profile of a Node program, by `node --cpu-prof`. */
export function nodeProfile(): string {
  return once("node", () => {
    execFileSync(process.execPath, [
      "--cpu-prof",
      "--cpu-prof-dir",
      scratch,
      "--cpu-prof-name",
      "node.cpuprofile",
      workPath,
    ]);
    return join(scratch, "node.cpuprofile");
  });
}

export const workPath: string = join(packageRoot, "targets/profiled/work.cjs");

function once(key: string, make: () => string): string {
  const path = made.get(key) ?? make();
  made.set(key, path);
  return path;
}

export function load(path: string): Profile {
  return decodeProfile(readFileSync(path), path);
}

/** What a profile says, whatever its ids: values by labels and stack, root first. */
export function contents(
  profile: Profile,
  detail: { lines?: boolean; addresses?: boolean; files?: boolean; labels?: boolean } = {},
): Map<string, number[]> {
  const { lines = true, addresses = true, files = true, labels = true } = detail;
  const { locations, functions, stacks, samples } = profile;
  const sums = new Map<string, number[]>();
  for (let row = 0; row < samples.count; row++) {
    const frames: string[] = [];
    for (let at = samples.stack[row]!; at > 0; at = stacks.parent[at]!) {
      const id = stacks.location[at]!;
      const entries: string[] = [];
      for (let entry = locations.firstLine[id]!; entry < locations.firstLine[id + 1]!; entry++) {
        const fn = locations.lineFunction[entry]!;
        const file = files ? ` ${functions.filename[fn]} s=${functions.startLine[fn]}` : "";
        entries.push(`${functions.name[fn]}${file}${lines ? `:${locations.lineNumber[entry]}` : ""}`);
      }
      frames.push((addresses ? `${locations.address[id]} ` : "") + entries.join(" < "));
    }
    const set = labels ? labelText(profile.labelSets[samples.labels[row]!]!) : "";
    const key = `${set}|${frames.reverse().join(";")}`;
    const sum = sums.get(key) ?? samples.values.map(() => 0);
    samples.values.forEach((column, type) => {
      sum[type]! += column[row]!;
    });
    sums.set(key, sum);
  }
  return new Map([...sums].filter(([, values]) => values.some((value) => value !== 0)).sort());
}

function labelText(labels: readonly Label[]): string {
  return labels
    .map((label) => ("text" in label ? `${label.key}=${label.text}` : `${label.key}=${label.number}${label.unit}`))
    .join(",");
}

/** All that an encoder writes. */
export async function encoded(
  chunks: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>,
): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
  return Buffer.concat(all);
}
