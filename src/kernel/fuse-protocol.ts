/**
 * The words of the FUSE protocol, as in the kernel's include/uapi/linux/fuse.h, for a read-only file system: opcodes,
 * flags, and where the fields of each message lie. All messages are little-endian 32-bit words, 4-byte aligned on every
 * machine that procscope runs on, so fields are named by their index in a Uint32Array over the message; a 64-bit field
 * is two words, low first.
 */

export const opcode = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  setxattr: 21,
  removexattr: 24,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  create: 35,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
  fallocate: 43,
  readdirplus: 44,
  rename2: 45,
  tmpfile: 51,
} as const;

/** The opcodes that would change something; a read-only file system answers EROFS. */
export const writingOpcodes: ReadonlySet<number> = new Set([
  opcode.setattr,
  opcode.symlink,
  opcode.mknod,
  opcode.mkdir,
  opcode.unlink,
  opcode.rmdir,
  opcode.rename,
  opcode.link,
  opcode.write,
  opcode.setxattr,
  opcode.removexattr,
  opcode.create,
  opcode.fallocate,
  opcode.rename2,
  opcode.tmpfile,
]);

/** The flags of FUSE_INIT that are asked for where the kernel has them. */
export const initFlag = {
  asyncRead: 1 << 0,
  doReaddirplus: 1 << 13,
  readdirplusAuto: 1 << 14,
  parallelDirops: 1 << 18,
  maxPages: 1 << 22,
  initExt: 1 << 30,
} as const;

/** Bits of the second word of flags: bit 39 of the whole. */
export const initFlag2 = { hasResend: 1 << 7 } as const;

export const openFlag = { directIo: 1, keepCache: 2, cacheDir: 8, noFlush: 32 } as const;

/** Notification that asks the kernel to send again what a dead server had read and not answered (protocol 7.40). */
export const notifyResend = 7;

export const protocolMajor = 7;
/** The newest minor whose rules this server follows. */
export const protocolMinor = 40;

/** Answers to READ and READDIR hold at most this: FUSE_INIT's max_pages × 4 KiB. */
export const maxPages = 64;
export const maxData = maxPages * 4096;

/**
 * Room for one request. The kernel refuses reads (EINVAL) with less than max_write + 80 bytes or 8 KiB; a file system
 * that takes no writes answers a max_write of one page.
 */
export const requestBytes = 65536;
export const maxWrite = 4096;

/** struct fuse_in_header: 40 bytes, the body follows. */
export const inHeader = {
  length: 0,
  opcode: 1,
  unique: 2,
  node: 4,
  uid: 6,
  gid: 7,
  pid: 8,
  words: 10,
  bytes: 40,
} as const;
/** struct fuse_out_header: 16 bytes, the body follows. */
export const outHeader = { length: 0, error: 1, unique: 2, words: 4, bytes: 16 } as const;

/** struct fuse_read_in, relative to the body; READDIR uses it too, RELEASE begins with the same handle. */
export const readIn = { handle: 0, offset: 2, size: 4 } as const;

export const sizes = {
  entry: 128,
  attrOut: 104,
  open: 16,
  initOut: 64,
  initOutOld: 24,
  statfs: 80,
  dirent: 24,
} as const;

/** errno numbers of the answers; they are the same on every architecture that procscope runs on. */
export const errno = {
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENOMEM: 12,
  EACCES: 13,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EROFS: 30,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  EPROTO: 71,
  ETIMEDOUT: 110,
  ESTALE: 116,
} as const;

export const fileType = { folder: 0o040000, regular: 0o100000 } as const;

const two32 = 2 ** 32;

/** A 64-bit field as a number. Node ids, handles and offsets of this server stay below 2^53. */
export function getU64(words: Uint32Array, index: number): number {
  return words[index]! + words[index + 1]! * two32;
}

export function putU64(words: Uint32Array, index: number, value: number): void {
  words[index] = value % two32;
  words[index + 1] = value / two32;
}

/**
 * A request's number. The kernel sets bit 63 of one that it sends again and wants it back in the answer; it is kept as
 * the number's sign, since the other bits stay below 2^53.
 */
export function getUnique(words: Uint32Array, index: number): number {
  const high = words[index + 1]!;
  const number = words[index]! + (high & 0x1fffff) * two32;
  return high >= 0x80000000 ? -number : number;
}

export function putUnique(words: Uint32Array, index: number, unique: number): void {
  putU64(words, index, Math.abs(unique));
  if (unique < 0) words[index + 1]! |= 0x80000000;
}

/** What the kernel is told of a node. */
export interface NodeAttributes {
  readonly id: number;
  /** File type and permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970; fractions are kept to the millisecond. */
  readonly time: number;
  /** How long the kernel may use name and attributes without asking again, in seconds. */
  readonly ttl: number;
  /** Length in bytes where it is known; 0 otherwise, as procfs says of files whose length shows when they are read. */
  readonly size?: number;
}

/** struct fuse_attr: 88 bytes. */
export function putAttributes(words: Uint32Array, at: number, node: NodeAttributes): void {
  words.fill(0, at, at + 22);
  putU64(words, at, node.id);
  putU64(words, at + 2, node.size ?? 0);
  const nanoseconds = Math.floor((node.time % 1) * 1000) * 1e6;
  for (let i = 0; i < 3; i++) {
    putU64(words, at + 6 + 2 * i, Math.floor(node.time));
    words[at + 12 + i] = nanoseconds;
  }
  words[at + 15] = node.mode;
  words[at + 16] = (node.mode & fileType.folder) !== 0 ? 2 : 1;
  words[at + 17] = node.uid;
  words[at + 18] = node.gid;
  words[at + 20] = 4096;
}

/** struct fuse_entry_out: the answer to LOOKUP and the head of a READDIRPLUS entry. */
export function putEntry(words: Uint32Array, at: number, node: NodeAttributes): void {
  words.fill(0, at, at + 10);
  putU64(words, at, node.id);
  const whole = Math.floor(node.ttl);
  const nanoseconds = Math.round((node.ttl - whole) * 1e9);
  words[at + 4] = whole;
  words[at + 6] = whole;
  words[at + 8] = nanoseconds;
  words[at + 9] = nanoseconds;
  putAttributes(words, at + 10, node);
}

/** struct fuse_attr_out: the answer to GETATTR. */
export function putAttrOut(words: Uint32Array, at: number, node: NodeAttributes): void {
  const whole = Math.floor(node.ttl);
  words[at] = whole;
  words[at + 1] = 0;
  words[at + 2] = Math.round((node.ttl - whole) * 1e9);
  words[at + 3] = 0;
  putAttributes(words, at + 4, node);
}
