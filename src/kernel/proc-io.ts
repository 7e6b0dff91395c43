/** /proc/PID/io and /proc/PID/task/TID/io: proc_pid_io(5). Needs PTRACE_MODE_READ of the target. */
import type { Bytes } from "../base/units.ts";
import { decimalAt } from "./proc-file.ts";

/** What went to or came from the storage layer; the target of {@link parseProcIo}. */
export interface ProcIo {
  /** Bytes that reads fetched from storage. */
  readBytes: Bytes;
  /** Bytes that writes sent towards storage. */
  writeBytes: Bytes;
}

const readLabel = Buffer.from("\nread_bytes: ");
const writeLabel = Buffer.from("\nwrite_bytes: ");

/** Parses the bytes of an io file. False where the two lines are not there (CONFIG_TASK_IO_ACCOUNTING off). */
export function parseProcIo(data: Buffer, length: number, into: ProcIo): boolean {
  const bytes = data.subarray(0, length);
  const read = bytes.indexOf(readLabel);
  const write = bytes.indexOf(writeLabel, Math.max(read, 0));
  if (read < 0 || write < 0) return false;
  into.readBytes = decimalAt(bytes, read + readLabel.length);
  into.writeBytes = decimalAt(bytes, write + writeLabel.length);
  return true;
}
