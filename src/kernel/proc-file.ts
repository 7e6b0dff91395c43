/**
 * Reading files of procfs into one reused buffer: they are small, made anew by the kernel at every read, and read by the
 * thousand, so no stream, no string and no error object is made for one that is there.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import type { Pid } from "../base/units.ts";

/** Where procfs is mounted unless the caller says otherwise. */
export const defaultProcMount = "/proc";

/**
 * A buffer with the length and the errno of the last read into it. One is shared by everything that parses in the same
 * turn; nothing of it may be kept past the next read.
 */
export class ProcBuffer {
  data: Buffer = Buffer.allocUnsafe(16384);
  /** Bytes of `data` that the last read filled. */
  length = 0;
  /** The errno name of the last failure: ENOENT and ESRCH mean that the process is gone, EACCES and EPERM rights. */
  errno: string | undefined;

  /** Reads the whole file. False where it could not be read, `errno` then says why; never throws. */
  read(path: string): boolean {
    return this.open(path, true);
  }

  /**
   * Reads from the start of an open file. With `whole`, files longer than the buffer make it grow; without it one
   * read(2) is made, which is enough for the files that the kernel makes in one piece (stat, io, schedstat …).
   */
  readFd(fd: number, whole: boolean): boolean {
    try {
      let length = readSync(fd, this.data, 0, this.data.length, 0);
      // seq files give at most a page or one record at a time: only a read of 0 bytes is the end.
      while (whole && length > 0) {
        if (length === this.data.length) this.grow();
        const more = readSync(fd, this.data, length, this.data.length - length, length);
        if (more === 0) break;
        length += more;
      }
      this.length = length;
      this.errno = undefined;
      return true;
    } catch (error) {
      return this.failed(error);
    }
  }

  /** One open, one read(2), one close: for files that the kernel makes in one piece. */
  readOnce(path: string): boolean {
    return this.open(path, false);
  }

  private open(path: string, whole: boolean): boolean {
    let fd: number;
    try {
      fd = openSync(path, "r");
    } catch (error) {
      return this.failed(error);
    }
    try {
      return this.readFd(fd, whole);
    } finally {
      closeSync(fd);
    }
  }

  /** The text from `start` to `end`; bytes that are not UTF-8 become U+FFFD. */
  text(start = 0, end = this.length): string {
    return this.data.toString("utf8", start, end);
  }

  private grow(): void {
    const larger = Buffer.allocUnsafe(this.data.length * 2);
    this.data.copy(larger);
    this.data = larger;
  }

  private failed(error: unknown): false {
    this.length = 0;
    this.errno = errnoOf(error) ?? "EIO";
    return false;
  }
}

/** The buffer for callers that read now and then. */
export const sharedProcBuffer = new ProcBuffer();

/** Whether an errno of a read below /proc/PID means that the process or thread is not there (any more). */
export function isGone(errno: string | undefined): boolean {
  return errno === "ENOENT" || errno === "ESRCH" || errno === "ENOTDIR";
}

/** Whether an errno means that rights are missing. */
export function isDenied(errno: string | undefined): boolean {
  return errno === "EACCES" || errno === "EPERM";
}

/** The error for a failed read of /proc/PID/FILE. */
export function procError(pid: Pid, file: string, errno: string | undefined): ProcscopeError {
  if (isGone(errno)) {
    return new ProcscopeError("NO_PROCESS", `no process ${pid}, or it exited`, {
      hint: "in a container, look at the host's processes with its /proc and pid namespace",
    });
  }
  if (isDenied(errno)) {
    return new ProcscopeError("PERMISSION", `not allowed to read /proc/${pid}/${file}`, {
      hint: "run as the process's user, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH (procscope doctor shows what is missing)",
    });
  }
  return new ProcscopeError("UNREADABLE", `cannot read /proc/${pid}/${file}: ${errno}`);
}

/** The value of ASCII digits at `at`; 0 where there is none. Exact within 2^53. */
export function decimalAt(data: Buffer, at: number): number {
  let value = 0;
  for (let c = data[at]!; c >= 48 && c <= 57; c = data[++at]!) value = value * 10 + (c - 48);
  return value;
}

/** The first place at or after `at` that is not a space or a tab. */
export function skipBlanks(data: Buffer, at: number): number {
  while (data[at] === 32 || data[at] === 9) at++;
  return at;
}
