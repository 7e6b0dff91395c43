/** Receiving an open file from another process over a UNIX socket (SCM_RIGHTS), as fusermount3 sends /dev/fuse. */
import { closeSync } from "node:fs";
import { ProcscopeError } from "../base/errors.ts";
import { addressOf, errnoName, lastErrno, libcFunction } from "./ffi.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;

export interface SocketPair {
  readonly ours: number;
  readonly theirs: number;
}

/** Two connected sockets, both closed on exec. Throws UNSUPPORTED_HERE without native functions. */
export function socketPair(): SocketPair {
  const pair = Buffer.alloc(8);
  const call = libcFunction<(domain: number, type: number, protocol: number, pair: Buffer) => number>(
    "int socketpair(int domain, int type, int protocol, void *pair)",
  );
  if (call(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) !== 0) {
    throw new ProcscopeError("IO", `socketpair: ${errnoName(lastErrno())}`);
  }
  return { ours: pair.readInt32LE(0), theirs: pair.readInt32LE(4) };
}

/**
 * The descriptor that lies ready in the socket, or undefined where there is none. Closes `socket`. The layouts are those
 * of struct msghdr, iovec and cmsghdr on 64-bit Linux.
 */
export function receiveDescriptor(socket: number): number | undefined {
  const data = Buffer.alloc(8);
  const control = Buffer.alloc(64);
  const vector = Buffer.alloc(16);
  const message = Buffer.alloc(56);
  vector.writeBigUInt64LE(addressOf(data), 0);
  vector.writeBigUInt64LE(1n, 8);
  message.writeBigUInt64LE(addressOf(vector), 16);
  message.writeBigUInt64LE(1n, 24);
  message.writeBigUInt64LE(addressOf(control), 32);
  message.writeBigUInt64LE(BigInt(control.length), 40);
  const receive = libcFunction<(fd: number, message: Buffer, flags: number) => number>(
    "long recvmsg(int fd, void *message, int flags)",
  );
  try {
    if (receive(socket, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0) return undefined;
  } finally {
    closeSync(socket);
  }
  const isRights = control.readInt32LE(8) === SOL_SOCKET && control.readInt32LE(12) === SCM_RIGHTS;
  return isRights ? control.readInt32LE(16) : undefined;
}
