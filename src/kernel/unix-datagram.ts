/** One datagram to a Unix domain socket: unix(7), sendto(2). Node itself has stream sockets of that domain only. */
import { ProcscopeError } from "../base/errors.ts";
import { errnoName, lastErrno, libcFunction } from "./ffi.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
/** A service manager that does not read must not stop us. */
const MSG_DONTWAIT = 0x40;
/** sun_path of struct sockaddr_un. */
const LONGEST_PATH = 108;

/**
 * Sends `data` to the socket bound to `path`; a leading "@" is an abstract name, as in NOTIFY_SOCKET. Throws IO, USAGE
 * for a path that no address can hold, UNSUPPORTED_HERE without koffi.
 */
export function sendDatagram(path: string, data: Buffer): void {
  const name = Buffer.from(path.startsWith("@") ? `\0${path.slice(1)}` : path);
  if (name.length >= LONGEST_PATH) throw new ProcscopeError("USAGE", `not the address of a socket: ${path}`);
  const address = Buffer.alloc(2 + name.length);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  const socket = libcFunction<(domain: number, type: number, protocol: number) => number>(
    "int socket(int domain, int type, int protocol)",
  );
  const sendto = libcFunction<
    (fd: number, data: Buffer, length: number, flags: number, address: Buffer, size: number) => number
  >("long sendto(int fd, void *data, unsigned long length, int flags, void *address, unsigned int size)");
  const close = libcFunction<(fd: number) => number>("int close(int fd)");
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new ProcscopeError("IO", `no socket: ${errnoName(lastErrno())}`);
  try {
    const sent = sendto(fd, data, data.length, MSG_DONTWAIT, address, address.length);
    if (Number(sent) < 0) throw new ProcscopeError("IO", `cannot send to ${path}: ${errnoName(lastErrno())}`);
  } finally {
    close(fd);
  }
}
