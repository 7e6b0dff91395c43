/** Starting the program that uses procscope/goinfo, and reading its tree. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Served, temporaryFolder } from "../fuse/fixture.ts";

const program = fileURLToPath(new URL("./program.js", import.meta.url));

/** Starts the program with a home folder of its own; the tree is at ~/tree. */
export async function startProgram(
  t: { after(done: () => unknown): void },
  node: string = process.execPath,
): Promise<Served> {
  const home = temporaryFolder(t);
  const child = spawn(node, [program], { env: { ...process.env, HOME: home }, stdio: ["pipe", "pipe", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  const served = new Served(join(home, "tree"), child);
  await served.says(/^ready /m);
  return served;
}

export const read = (served: Served, path: string): string => readFileSync(served.path(path), "utf8");

export interface AllJson {
  readonly live: boolean;
  readonly ageMilliseconds: number;
  readonly pid: number;
  readonly figures: Record<string, number | null>;
}

export const all = (served: Served): AllJson => JSON.parse(read(served, "mem/all.json")) as AllJson;
