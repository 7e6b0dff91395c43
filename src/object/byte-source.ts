/** Where the bytes of a file format come from: an open file, or a buffer in memory. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import type { Bytes } from "../base/units.ts";

export interface ByteSource {
  /** What it is, for messages. */
  readonly name: string;
  readonly size: Bytes;
  /** Exactly `length` bytes at `offset`, or undefined where the source ends before; never throws for a bad range. */
  read(offset: number, length: Bytes): Buffer | undefined;
}

export class FileSource implements ByteSource, Disposable {
  readonly name: string;
  readonly size: Bytes;
  readonly device: number;
  readonly inode: number;
  private readonly fd: number;

  /** Opens a regular file. Throws PERMISSION, UNREADABLE (ENOENT and the like). */
  static open(path: string): FileSource {
    try {
      return new FileSource(path, openSync(path, "r"));
    } catch (error) {
      if (error instanceof ProcscopeError) throw error;
      const errno = errnoOf(error);
      const denied = errno === "EACCES" || errno === "EPERM";
      throw new ProcscopeError(denied ? "PERMISSION" : "UNREADABLE", `cannot open ${path}: ${errno ?? error}`, {
        cause: error,
      });
    }
  }

  private constructor(name: string, fd: number) {
    this.name = name;
    this.fd = fd;
    const stat = fstatSync(fd);
    this.size = stat.size;
    this.device = stat.dev;
    this.inode = stat.ino;
  }

  read(offset: number, length: Bytes): Buffer | undefined {
    if (!validRange(offset, length, this.size)) return undefined;
    const buffer = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const copied = readSync(this.fd, buffer, done, length - done, offset + done);
      if (copied === 0) return undefined;
      done += copied;
    }
    return buffer;
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

export class BufferSource implements ByteSource {
  readonly name: string;
  readonly size: Bytes;
  private readonly buffer: Buffer;

  constructor(buffer: Buffer, name = "buffer") {
    this.buffer = buffer;
    this.name = name;
    this.size = buffer.length;
  }

  read(offset: number, length: Bytes): Buffer | undefined {
    return validRange(offset, length, this.size) ? this.buffer.subarray(offset, offset + length) : undefined;
  }
}

function validRange(offset: number, length: Bytes, size: Bytes): boolean {
  return Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0
    ? offset + length <= size
    : false;
}
