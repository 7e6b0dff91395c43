/** /proc/PID/limits: proc_pid_limits(5). */
import { decimalAt, type ProcBuffer, sharedProcBuffer, skipBlanks } from "./proc-file.ts";

const openFilesLabel = Buffer.from("Max open files ");

/** The soft limit of open files, Infinity for unlimited, undefined where it could not be read. */
export function readOpenFileLimit(dir: string, buffer: ProcBuffer = sharedProcBuffer): number | undefined {
  if (!buffer.read(`${dir}/limits`)) return undefined;
  const data = buffer.data.subarray(0, buffer.length);
  const label = data.indexOf(openFilesLabel);
  if (label < 0) return undefined;
  const at = skipBlanks(data, label + openFilesLabel.length);
  return data[at] === 117 ? Number.POSITIVE_INFINITY : decimalAt(data, at);
}
