/** /proc/PID/cgroup: cgroups(7). One line per hierarchy: "id:controllers:path". */
import { type ProcBuffer, sharedProcBuffer } from "./proc-file.ts";

/** The paths, in the file's order (hierarchy ids falling, version 2 last), or undefined where it could not be read. */
export function readCgroups(dir: string, buffer: ProcBuffer = sharedProcBuffer): string[] | undefined {
  if (!buffer.read(`${dir}/cgroup`)) return undefined;
  return parseCgroups(buffer.text());
}

export function parseCgroups(text: string): string[] {
  const paths: string[] = [];
  for (const line of text.split("\n")) {
    const first = line.indexOf(":");
    const second = line.indexOf(":", first + 1);
    if (first >= 0 && second >= 0) paths.push(line.slice(second + 1));
  }
  return paths;
}
