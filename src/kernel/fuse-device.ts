/** Reading requests from /dev/fuse and writing the answers. */
import { readSync, writeSync, writevSync } from "node:fs";
import { constants } from "node:os";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import { errnoName, ffiAvailable, lastErrno, libcFunction } from "./ffi.ts";
import type { Reply } from "./fuse-answers.ts";
import { notifyResend, outHeader, requestBytes } from "./fuse-protocol.ts";
import { type ReadCall, RequestWaiter } from "./fuse-wait.ts";

/** A request's bytes, the same as words, and its length. The buffers are used again for the next one. */
export type RequestHandler = (bytes: Buffer, words: Uint32Array, length: number) => void | Promise<void>;

/** read(2) or write(2) of a whole message: bytes, or minus errno. */
type Transfer = ReadCall;

const { EINTR, EAGAIN, ENOENT, ENODEV, ECONNABORTED } = constants.errno;

/**
 * Answers requests until the file system is unmounted, or until after a request `stopped` says so. The thread blocks while it waits: nothing else runs in it but the
 * handler, and what a handler that returns a promise waits for. That is twice as fast as an event loop, and it leaves
 * libuv's thread pool alone.
 */
export async function serveBlocking(fd: number, handle: RequestHandler, stopped: () => boolean): Promise<void> {
  const bytes = Buffer.from(new ArrayBuffer(requestBytes));
  const words = new Uint32Array(bytes.buffer);
  const { read } = transfers();
  const waiter = ffiAvailable().available ? new RequestWaiter(fd, read) : undefined;
  for (;;) {
    const length = waiter === undefined ? read(fd, bytes, requestBytes) : waiter.next(bytes);
    if (length < 0) {
      // ENOENT: the request was interrupted before it could be read.
      if (length === -EINTR || length === -EAGAIN || length === -ENOENT) continue;
      if (length === -ENODEV || length === -ECONNABORTED) return;
      throw new ProcscopeError("IO", `reading from /dev/fuse: ${errnoName(-length)}`);
    }
    if (length < 40) return;
    const later = handle(bytes, words, length);
    if (later !== undefined) await later;
    if (stopped()) return;
  }
}

/** Writes answers. What the kernel no longer wants, because the reader was interrupted or all is over, is dropped. */
export function replyTo(fd: number): Reply {
  const { write } = transfers();
  return (head, length, data) => {
    const written =
      data === undefined ? write(fd, head, length) : viaNode(() => writevSync(fd, [head.subarray(0, length), data]));
    if (written >= 0 || written === -ENOENT || written === -ENODEV || written === -ECONNABORTED) return;
    throw new ProcscopeError("IO", `writing to /dev/fuse: ${errnoName(-written)}`);
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
  return viaNode(() => writeSync(fd, message, 0, message.length, null)) >= 0;
}

/** Native functions spare a third of what Node's cost for each call (340 ns instead of 520); either will do. */
function transfers(): { read: Transfer; write: Transfer } {
  if (!ffiAvailable().available) {
    return {
      read: (fd, buffer, length) => viaNode(() => readSync(fd, buffer, 0, length, null)),
      write: (fd, buffer, length) => viaNode(() => writeSync(fd, buffer, 0, length, null)),
    };
  }
  const read = libcFunction<Transfer>("long read(int fd, void *buffer, size_t length)");
  const write = libcFunction<Transfer>("long write(int fd, void *buffer, size_t length)");
  const checked =
    (call: Transfer): Transfer =>
    (fd, buffer, length) => {
      const done = call(fd, buffer, length);
      return done < 0 ? -lastErrno() : done;
    };
  return { read: checked(read), write: checked(write) };
}

function viaNode(call: () => number): number {
  try {
    return call();
  } catch (error) {
    const errno = errnoOf(error);
    const number = Object.entries(constants.errno).find(([name]) => name === errno)?.[1];
    if (number === undefined) throw error;
    return -number;
  }
}
