/** Reading requests from /dev/fuse and writing the answers. */
import { readSync, writeSync, writevSync } from "node:fs";
import { errnoOf } from "../base/errors.ts";
import type { Reply } from "./fuse-answers.ts";
import { notifyResend, outHeader, requestBytes } from "./fuse-protocol.ts";

/** A request's bytes, the same as words, and its length. The buffers are used again for the next one. */
export type RequestHandler = (bytes: Buffer, words: Uint32Array, length: number) => void | Promise<void>;

/**
 * Answers requests until the file system is unmounted. The thread blocks in read(2): nothing else runs in it but the
 * handler, and what a handler that returns a promise waits for. That is twice as fast as an event loop, and it leaves
 * libuv's thread pool alone.
 */
export async function serveBlocking(fd: number, handle: RequestHandler): Promise<void> {
  const bytes = Buffer.from(new ArrayBuffer(requestBytes));
  const words = new Uint32Array(bytes.buffer);
  for (;;) {
    let length: number;
    try {
      length = readSync(fd, bytes, 0, requestBytes, null);
    } catch (error) {
      const errno = errnoOf(error);
      // ENOENT: the request was interrupted before it could be read.
      if (errno === "EINTR" || errno === "EAGAIN" || errno === "ENOENT") continue;
      if (errno === "ENODEV" || errno === "ECONNABORTED") return;
      throw error;
    }
    if (length < 40) return;
    const later = handle(bytes, words, length);
    if (later !== undefined) await later;
  }
}

/** Writes answers. What the kernel no longer wants, because the reader was interrupted or all is over, is dropped. */
export function replyTo(fd: number): Reply {
  return (head, length, data) => {
    try {
      if (data === undefined) writeSync(fd, head, 0, length, null);
      else writevSync(fd, [head.subarray(0, length), data]);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno !== "ENOENT" && errno !== "ENODEV" && errno !== "ECONNABORTED") throw error;
    }
  };
}

/**
 * Asks the kernel to send again all that a server before us has read and not answered. False where the kernel cannot
 * (before Linux 6.9).
 */
export function requestResend(fd: number): boolean {
  const message = Buffer.alloc(outHeader.bytes);
  message.writeUInt32LE(outHeader.bytes, 0);
  message.writeInt32LE(notifyResend, 4);
  try {
    writeSync(fd, message, 0, message.length, null);
    return true;
  } catch {
    return false;
  }
}
