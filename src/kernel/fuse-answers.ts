/**
 * Writes the answers of a FUSE server into one buffer that lives as long as the session: header, body, 64-bit fields as
 * two words. Nothing is allocated for an answer but where data is large enough to be sent from where it lies.
 */
import {
  errno,
  fileType,
  inHeader,
  initFlag,
  initFlag2,
  maxData,
  maxPages,
  maxWrite,
  outHeader,
  protocolMajor,
  protocolMinor,
  putAttrOut,
  putEntry,
  putU64,
  putUnique,
  sizes,
} from "./fuse-protocol.ts";
import type { FuseEntries, FuseFolder, FuseNode, FuseTree } from "./fuse-tree.ts";

/** Sends `length` bytes of `head`, then `data` where it is given. */
export type Reply = (head: Buffer, length: number, data?: Buffer) => void;

export interface InitInfo {
  readonly protocol: string;
  /** The kernel can send requests again to the successor of a dead server (Linux 6.9). */
  readonly resend: boolean;
}

/** Answers longer than this are sent from where they lie; shorter ones are copied behind their header. */
const copyLimit = 16384;

export class FuseAnswers {
  private readonly reply: Reply;
  private readonly tree: FuseTree;
  private readonly generation: number;
  private readonly out = Buffer.alloc(outHeader.bytes + maxData);
  private readonly words = new Uint32Array(this.out.buffer, this.out.byteOffset, this.out.length / 4);

  constructor(reply: Reply, tree: FuseTree, generation: number) {
    this.reply = reply;
    this.tree = tree;
    this.generation = generation;
  }

  /** The answer to FUSE_INIT; returns what was agreed, undefined where the kernel's protocol is too old. */
  init(unique: number, request: Uint32Array, length: number): InitInfo | undefined {
    const body = inHeader.words;
    const major = request[body]!;
    const minor = request[body + 1]!;
    const flags = request[body + 3]!;
    const flags2 = length >= inHeader.bytes + 20 ? request[body + 4]! : 0;
    if (major < protocolMajor) {
      this.error(unique, errno.EPROTO);
      return undefined;
    }
    const out = this.words;
    const at = outHeader.words;
    out.fill(0, at, at + sizes.initOut / 4);
    out[at] = protocolMajor;
    out[at + 1] = Math.min(minor, protocolMinor);
    out[at + 2] = request[body + 2]!; // readahead
    const wanted = Object.values(initFlag).reduce((all: number, flag) => all | flag, 0);
    out[at + 3] = wanted & flags;
    out[at + 4] = 64 | (48 << 16); // max_background, congestion_threshold
    out[at + 5] = maxWrite;
    out[at + 6] = 1; // times are in nanoseconds
    out[at + 7] = maxPages;
    const resend = (flags2 & initFlag2.hasResend) !== 0 && (flags & initFlag.initExt) !== 0;
    out[at + 8] = resend ? initFlag2.hasResend : 0;
    this.send(unique, minor < 23 ? sizes.initOutOld : sizes.initOut);
    return { protocol: `${major}.${minor}`, resend };
  }

  entry(unique: number, node: FuseNode | undefined): void {
    if (node === undefined) {
      this.error(unique, errno.ENOENT);
      return;
    }
    putEntry(this.words, outHeader.words, node);
    this.tree.retain?.(node);
    this.send(unique, sizes.entry);
  }

  attributes(unique: number, node: FuseNode): void {
    putAttrOut(this.words, outHeader.words, node);
    this.send(unique, sizes.attrOut);
  }

  open(unique: number, handle: number, flags: number): void {
    const out = this.words;
    out[outHeader.words] = handle;
    out[outHeader.words + 1] = this.generation;
    out[outHeader.words + 2] = flags;
    out[outHeader.words + 3] = 0;
    this.send(unique, sizes.open);
  }

  data(unique: number, data: Buffer, offset: number, size: number): void {
    const length = Math.max(0, Math.min(size, data.length - offset, maxData));
    if (length <= copyLimit) {
      if (length > 0) data.copy(this.out, outHeader.bytes, offset, offset + length);
      this.send(unique, length);
      return;
    }
    this.putHeader(unique, length, 0);
    this.reply(this.out, outHeader.bytes, data.subarray(offset, offset + length));
  }

  /** As many entries from number `offset` on as fit; "." and ".." are the first two. */
  entries(unique: number, folder: FuseFolder, entries: FuseEntries, offset: number, size: number, plus: boolean): void {
    const start = outHeader.bytes;
    const end = start + Math.min(size, maxData);
    let at: number = start;
    for (let i = offset; i < entries.length + 2; i++) {
      const [name, node] = i === 0 ? ["."] : i === 1 ? [".."] : entries[i - 2]!;
      const id = node?.id ?? (i === 0 ? folder.id : folder.parent);
      const next = this.putDirectoryEntry(at, end, name, node, id, i + 1, plus);
      if (next < 0) break;
      at = next;
    }
    this.send(unique, at - start);
  }

  statfs(unique: number): void {
    const out = this.words;
    const at = outHeader.words;
    out.fill(0, at, at + sizes.statfs / 4);
    out[at + 10] = 4096; // block size
    out[at + 11] = 255; // longest name
    out[at + 12] = 4096; // fragment size
    this.send(unique, sizes.statfs);
  }

  /** An errno; 0 is the answer to requests that have nothing to say. */
  error(unique: number, number: number): void {
    this.putHeader(unique, 0, -number);
    this.reply(this.out, outHeader.bytes);
  }

  /** Writes one entry; returns where the next one begins, or -1 where it does not fit. */
  private putDirectoryEntry(
    at: number,
    end: number,
    name: string,
    node: FuseNode | undefined,
    id: number,
    nextOffset: number,
    plus: boolean,
  ): number {
    const nameLength = Buffer.byteLength(name);
    const recordLength = (plus ? sizes.entry : 0) + ((sizes.dirent + nameLength + 7) & ~7);
    if (at + recordLength > end) return -1;
    const out = this.words;
    let word = at / 4;
    if (plus) {
      // A node number of 0 says that the kernel need not remember it: "." and "..".
      if (node === undefined) out.fill(0, word, word + sizes.entry / 4);
      else {
        putEntry(out, word, node);
        this.tree.retain?.(node);
      }
      word += sizes.entry / 4;
    }
    putU64(out, word, id);
    putU64(out, word + 2, nextOffset);
    out[word + 4] = nameLength;
    out[word + 5] = (node?.mode ?? fileType.folder) >> 12;
    const nameAt = word * 4 + sizes.dirent;
    this.out.write(name, nameAt, "utf8");
    this.out.fill(0, nameAt + nameLength, at + recordLength);
    return at + recordLength;
  }

  private send(unique: number, bodyLength: number): void {
    this.putHeader(unique, bodyLength, 0);
    this.reply(this.out, outHeader.bytes + bodyLength);
  }

  private putHeader(unique: number, bodyLength: number, error: number): void {
    const out = this.words;
    out[outHeader.length] = outHeader.bytes + bodyLength;
    out[outHeader.error] = error;
    putUnique(out, outHeader.unique, unique);
  }
}
