/** The files of a Go process's folder: goinfo's own, and beside them what a person wants next. */
import type { GoFile, GoView } from "./go-view.ts";
import { jsonLine, memoryFiles, memoryLine } from "./memory-lines.ts";

export const goFiles: readonly GoFile[] = [
  ...memoryFiles.map(({ name, fields }) => light(`mem/${name}`, (view) => memoryLine(fields, view.memStats()))),
  light("mem/all.json", (view) => jsonLine(view.memStats())),
  heavy("st/stacktrace", (view) => view.stacktrace()),
  heavy("st/goroutines.json", (view) => view.goroutines()),
  heavy("st/summary", (view) => view.summary()),
  heavy("st/wait-reasons", (view) => view.waitReasons()),
  light("info", (view) => view.info()),
];

function light(path: string, contents: (view: GoView) => string): GoFile {
  return { path, heavy: false, contents };
}

function heavy(path: string, contents: (view: GoView) => string | Iterable<string | Uint8Array>): GoFile {
  return { path, heavy: true, contents };
}
