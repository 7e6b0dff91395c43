/** /proc/self/mountinfo: what is mounted where in our mount namespace; see proc_pid_mountinfo(5). */
import { readFileSync } from "node:fs";

export interface MountEntry {
  /** Unique among the mounts of now; used again after an unmount. */
  readonly id: number;
  /** The minor number of its device, by which FUSE connections are known; the major is 0. */
  readonly minor: number;
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
}

/** All mounts, a later one at the same place covering the earlier. */
export function readMountInfo(path = "/proc/self/mountinfo"): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const entry = parseMountLine(line);
    if (entry) entries.push(entry);
  }
  return entries;
}

/** The mount that is seen at exactly that path (absolute, without symbolic links), or undefined. */
export function mountAt(path: string, entries: readonly MountEntry[] = readMountInfo()): MountEntry | undefined {
  return entries.findLast((entry) => entry.mountPoint === path);
}

export function parseMountLine(line: string): MountEntry | undefined {
  // "36 35 98:0 /root /point options optional… - type source superoptions"
  const separator = line.indexOf(" - ");
  if (separator < 0) return undefined;
  const [id, , device, , point] = line.slice(0, separator).split(" ");
  const [type, source] = line.slice(separator + 3).split(" ");
  if (point === undefined || type === undefined) return undefined;
  const minor = Number(device?.split(":")[1]);
  return { id: Number(id), minor, mountPoint: unescapeOctal(point), type, source: unescapeOctal(source ?? "") };
}

/** Space, tab, newline and backslash are written as three octal digits of each byte. */
function unescapeOctal(text: string): string {
  if (!text.includes("\\")) return text;
  return text.replace(/\\([0-7]{3})/g, (_whole, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
