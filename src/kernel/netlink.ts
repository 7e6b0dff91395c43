/**
 * Generic netlink (include/uapi/linux/netlink.h, genetlink.h): requests and their answers, and messages that the kernel
 * sends on its own, read without blocking.
 */
import { closeSync, fstatSync, readFileSync } from "node:fs";
import { ProcscopeError } from "../base/errors.ts";
import { errnoName, lastErrno, libcFunction } from "./ffi.ts";

const afNetlink = 16;
const sockRaw = 3;
const sockNonblock = 0x800;
const sockCloexec = 0x80000;
const protocolGeneric = 16;
const solSocket = 1;
const soRcvbuf = 8;
const soRcvbufforce = 33;
const msgDontwait = 0x40;

const typeError = 2;
const flagRequest = 1;
const flagAck = 4;
const headerSize = 20; // struct nlmsghdr 16, struct genlmsghdr 4
const controlFamily = 16;
const getFamily = 3;
const attrFamilyId = 1;
const attrFamilyName = 2;

type Socket = (domain: number, type: number, protocol: number) => number;
type Bind = (fd: number, address: Buffer, length: number) => number;
type SetSockOpt = (fd: number, level: number, name: number, value: Buffer, length: number) => number;
type Send = (fd: number, data: Buffer, length: number, flags: number) => number;
type Recv = (fd: number, data: Buffer, length: number, flags: number) => number;

export interface NetlinkMessage {
  readonly type: number;
  readonly data: Buffer;
  /** Where the attributes lie in `data`. */
  readonly start: number;
  readonly end: number;
}

export class GenericNetlink {
  /** How often the kernel said that its queue for us had been full. */
  overruns = 0;
  readonly #fd: number;
  readonly #inode: number;
  readonly #buffer = Buffer.allocUnsafeSlow(1 << 18);
  readonly #recv = libcFunction<Recv>("long recv(int fd, void *data, size_t length, int flags)");
  #sequence = 1;
  #closed = false;

  /** Opens a socket with a receive queue of `queueBytes`, or as much as we may. Throws UNSUPPORTED_HERE. */
  constructor(queueBytes: number) {
    const socket = libcFunction<Socket>("int socket(int domain, int type, int protocol)");
    this.#fd = socket(afNetlink, sockRaw | sockNonblock | sockCloexec, protocolGeneric);
    if (this.#fd < 0) throw netlinkError("opening a netlink socket", errnoName(lastErrno()));
    const setsockopt = libcFunction<SetSockOpt>(
      "int setsockopt(int fd, int level, int name, const void *value, unsigned int length)",
    );
    const size = Buffer.alloc(4);
    size.writeInt32LE(queueBytes);
    if (setsockopt(this.#fd, solSocket, soRcvbufforce, size, 4) < 0) setsockopt(this.#fd, solSocket, soRcvbuf, size, 4);
    const address = Buffer.alloc(12);
    address.writeUInt16LE(afNetlink, 0);
    const bind = libcFunction<Bind>("int bind(int fd, const void *address, unsigned int length)");
    if (bind(this.#fd, address, 12) < 0) throw netlinkError("binding a netlink socket", errnoName(lastErrno()));
    this.#inode = fstatSync(this.#fd).ino;
  }

  /** The number of a family by its name. Throws UNSUPPORTED_HERE where the kernel has none of that name. */
  family(name: string): number {
    const answer = this.request(controlFamily, getFamily, attrFamilyName, Buffer.from(`${name}\0`), false);
    let id: number | undefined;
    if (typeof answer !== "string" && answer) {
      forEachAttribute(answer.data, answer.start, answer.end, (type, at) => {
        if (type === attrFamilyId) id = answer.data.readUInt16LE(at);
      });
    }
    if (id !== undefined) return id;
    throw new ProcscopeError("UNSUPPORTED_HERE", `this kernel has no netlink family ${name}`, {
      hint: `needs CONFIG_${name}`,
    });
  }

  /**
   * Sends one command with one attribute and waits for its answer: the message, undefined for a plain acknowledgement, or
   * the errno name. Messages that the kernel sends on its own meanwhile are lost, so ask before subscribing.
   */
  request(
    family: number,
    command: number,
    attribute: number,
    value: Buffer,
    ack: boolean,
  ): NetlinkMessage | string | undefined {
    const send = libcFunction<Send>("long send(int fd, const void *data, size_t length, int flags)");
    const message = encodeMessage(family, command, attribute, value, ack, this.#sequence++);
    if (send(this.#fd, message, message.length, 0) < 0) return errnoName(lastErrno());
    let answer: NetlinkMessage | string | undefined;
    // Generic netlink works a request off within send(): its answer is there already.
    this.receive((received) => {
      if (received.type === typeError) {
        const errno = -received.data.readInt32LE(received.start - 4);
        if (errno !== 0) answer = errnoName(errno);
      } else if (received.type === family || received.type === controlFamily) answer = received;
    }, 1);
    return answer;
  }

  /**
   * Hands over the messages that wait, without blocking, at most `datagrams` datagrams of them. Their data is valid only
   * during the call of `visit`.
   */
  receive(visit: (message: NetlinkMessage) => void, datagrams = Number.POSITIVE_INFINITY): void {
    for (let i = 0; i < datagrams; i++) {
      const length = this.#recv(this.#fd, this.#buffer, this.#buffer.length, msgDontwait);
      if (length > 0) {
        splitMessages(this.#buffer, length, visit);
        continue;
      }
      const errno = length < 0 ? errnoName(lastErrno()) : "EAGAIN";
      if (errno === "EAGAIN") return;
      if (errno === "ENOBUFS") this.overruns++;
      else if (errno !== "EINTR") throw netlinkError("receiving from netlink", errno);
    }
  }

  /** How many messages the kernel dropped because our queue was full: the Drops column of /proc/net/netlink. */
  drops(): number {
    for (const line of readFileSync("/proc/net/netlink", "latin1").split("\n")) {
      const words = line.trim().split(/\s+/);
      if (Number(words[9]) === this.#inode) return Number(words[8]);
    }
    return 0;
  }

  close(): void {
    if (!this.#closed) closeSync(this.#fd);
    this.#closed = true;
  }
}

/** Visits the attributes between two places: their type without flag bits, and where their value lies. */
export function forEachAttribute(
  data: Buffer,
  start: number,
  end: number,
  visit: (type: number, at: number, length: number) => void,
): void {
  for (let at = start; at + 4 <= end; ) {
    const length = data.readUInt16LE(at);
    if (length < 4 || at + length > end) return;
    visit(data.readUInt16LE(at + 2) & 0x3fff, at + 4, length - 4);
    at += (length + 3) & ~3;
  }
}

function splitMessages(buffer: Buffer, length: number, visit: (message: NetlinkMessage) => void): void {
  for (let at = 0; at + 16 <= length; ) {
    const size = buffer.readUInt32LE(at);
    if (size < headerSize || at + size > length) return;
    visit({ type: buffer.readUInt16LE(at + 4), data: buffer, start: at + headerSize, end: at + size });
    at += (size + 3) & ~3;
  }
}

function encodeMessage(
  family: number,
  command: number,
  attribute: number,
  value: Buffer,
  ack: boolean,
  sequence: number,
): Buffer {
  const attributeSize = 4 + value.length;
  const message = Buffer.alloc(headerSize + ((attributeSize + 3) & ~3));
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(family, 4);
  message.writeUInt16LE(flagRequest | (ack ? flagAck : 0), 6);
  message.writeUInt32LE(sequence, 8);
  message[16] = command;
  message[17] = 1;
  message.writeUInt16LE(attributeSize, 20);
  message.writeUInt16LE(attribute, 22);
  value.copy(message, 24);
  return message;
}

function netlinkError(doing: string, errno: string): ProcscopeError {
  return new ProcscopeError("UNSUPPORTED_HERE", `${doing}: ${errno}`, {
    hint: "netlink may be forbidden by a sandbox (seccomp, RestrictAddressFamilies=): allow AF_NETLINK",
  });
}
