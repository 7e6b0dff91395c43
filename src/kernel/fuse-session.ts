/**
 * Answers the requests of one FUSE mount from a {@link FuseTree}: read-only, with the manners of procfs.
 *
 * - Sizes are 0 and reads go straight to the server (direct IO), so every program reads until the end of file.
 * - The contents are made when offset 0 is read; reads at other offsets of the same open file see that snapshot. Each
 *   open file has its own, and one that is kept open is fresh again with every read at offset 0.
 * - OPEN keeps no state: an open file costs memory from its first read to its RELEASE. That lets another thread, or the
 *   successor of a server that died, go on with handles that it has never seen.
 *
 * The hot path makes no object besides the snapshot.
 */
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import type { Bytes } from "../base/units.ts";
import { FuseAnswers, type InitInfo, type Reply } from "./fuse-answers.ts";
import { errno, getU64, getUnique, inHeader, opcode, openFlag, readIn, writingOpcodes } from "./fuse-protocol.ts";
import { gatherSnapshot, takeSnapshot } from "./fuse-snapshot.ts";
import {
  type FuseContents,
  type FuseEntries,
  FuseError,
  type FuseFile,
  type FuseFolder,
  type FuseNode,
  type FuseTree,
} from "./fuse-tree.ts";

export interface SessionOptions {
  readonly tree: FuseTree;
  readonly reply: Reply;
  /** Where reasons of EIO go. */
  readonly log: (message: string) => void;
  /** The most that one open file may hold; longer contents are cut, and say so. */
  readonly fileLimit: Bytes;
  /** The most that all open files of this session may hold together; beyond it reads get ENOMEM. */
  readonly totalLimit: Bytes;
  /** Distinguishes the handles of this server from those of one that died; below 2^20. */
  readonly generation: number;
  /** Contents are gathered in turns, and Ctrl-C of the reader ends them: for sessions on an event loop. */
  readonly interruptible: boolean;
  readonly onInit?: (info: InitInfo) => void;
}

/** An open file that has been read, or an open folder that has been listed. */
interface OpenFile {
  snapshot: Buffer | undefined;
  entries: Promise<FuseEntries> | FuseEntries | undefined;
  pending: Promise<Buffer> | undefined;
}

const two32 = 2 ** 32;
/** As statfs says; the kernel itself lets names of 1024 bytes through. */
const longestName = 255;
/** What is made within this time of an interrupt is given all the same. */
const graceMilliseconds = 100;
/** Handles that no reader will release again can only come from a faulty kernel or a crash; they are bounded anyway. */
const openLimit = 100_000;

export class FuseSession {
  private readonly options: SessionOptions;
  private readonly answers: FuseAnswers;
  private readonly open = new Map<number, OpenFile>();
  private readonly waiting = new Map<number, AbortController>();
  private heldBytes: Bytes = 0;
  private nextHandle = 1;

  constructor(options: SessionOptions) {
    this.options = options;
    this.answers = new FuseAnswers(options.reply, options.tree, options.generation);
  }

  /** What the open files hold, for tests against leaks. */
  get held(): { files: number; bytes: Bytes; waiting: number } {
    return { files: this.open.size, bytes: this.heldBytes, waiting: this.waiting.size };
  }

  /**
   * Answers one request; a promise where the tree needs time. The request's buffer may be used again after the call
   * has returned.
   */
  handle(bytes: Buffer, words: Uint32Array, length: number): void | Promise<void> {
    const unique = getUnique(words, inHeader.unique);
    const id = getU64(words, inHeader.node);
    const op = words[inHeader.opcode]!;
    try {
      const done = this.dispatch(op, unique, id, bytes, words, length);
      if (done instanceof Promise) return done.catch((error) => this.fail(unique, op, error));
    } catch (error) {
      this.fail(unique, op, error);
    }
  }

  private dispatch(
    op: number,
    unique: number,
    id: number,
    bytes: Buffer,
    words: Uint32Array,
    length: number,
  ): void | Promise<void> {
    const body = inHeader.words;
    switch (op) {
      case opcode.read:
        return this.read(
          unique,
          id,
          getU64(words, body + readIn.handle),
          getU64(words, body + readIn.offset),
          words[body + readIn.size]!,
        );
      case opcode.open:
        return this.openFile(unique, id, words[body]!);
      case opcode.release:
      case opcode.releasedir:
        this.close(getU64(words, body));
        return this.answers.error(unique, 0);
      case opcode.lookup:
        if (length - 1 - inHeader.bytes > longestName) throw new FuseError(errno.ENAMETOOLONG, "name too long");
        return this.lookup(unique, id, bytes.toString("utf8", inHeader.bytes, length - 1));
      case opcode.getattr:
        return this.answers.attributes(unique, this.node(id));
      case opcode.opendir:
        return this.openFolder(unique, id);
      case opcode.readdir:
      case opcode.readdirplus:
        return this.readFolder(
          unique,
          id,
          getU64(words, body + readIn.handle),
          getU64(words, body + readIn.offset),
          words[body + readIn.size]!,
          op === opcode.readdirplus,
        );
      case opcode.forget:
        this.options.tree.release?.(id, getU64(words, body));
        return;
      case opcode.batchForget:
        return this.forgetMany(words, length);
      case opcode.interrupt:
        return this.interrupt(getUnique(words, body));
      case opcode.init:
        return this.init(unique, words, length);
      case opcode.statfs:
        return this.answers.statfs(unique);
      case opcode.destroy:
        return;
      default:
        // ENOSYS tells the kernel not to ask again (FLUSH, ACCESS, LSEEK, extended attributes).
        return this.answers.error(unique, writingOpcodes.has(op) ? errno.EROFS : errno.ENOSYS);
    }
  }

  private init(unique: number, words: Uint32Array, length: number): void {
    const info = this.answers.init(unique, words, length);
    if (info !== undefined) this.options.onInit?.(info);
  }

  private lookup(unique: number, id: number, name: string): void | Promise<void> {
    const found = this.folder(id).lookup(name);
    if (found instanceof Promise) {
      return this.interruptible(unique, found).then((node) => this.answers.entry(unique, node));
    }
    this.answers.entry(unique, found);
  }

  private openFile(unique: number, id: number, flags: number): void {
    const accessMode = 3;
    const node = this.file(id);
    if ((flags & accessMode) !== 0) throw new FuseError(errno.EROFS, "opened for writing");
    node.open?.();
    this.answers.open(unique, this.nextHandle++, openFlag.directIo | openFlag.noFlush);
  }

  private openFolder(unique: number, id: number): void {
    this.answers.open(unique, this.nextHandle++, this.folder(id).fixed ? openFlag.cacheDir | openFlag.keepCache : 0);
  }

  private read(unique: number, id: number, handle: number, offset: number, size: number): void | Promise<void> {
    let file = this.open.get(handle);
    if (file?.snapshot !== undefined && offset > 0) return this.answers.data(unique, file.snapshot, offset, size);
    if (file?.pending) {
      return this.interruptible(unique, file.pending).then((data) => this.answers.data(unique, data, offset, size));
    }
    // A snapshot of a server that died is lost: the rest of another one would not fit what the reader already has.
    if (file === undefined && offset > 0 && Math.floor(handle / two32) !== this.options.generation) {
      return this.answers.error(unique, errno.ESTALE);
    }
    const node = this.file(id);
    file ??= this.newOpenFile(handle);
    if (this.options.interruptible) return this.readLater(unique, handle, file, node, offset, size);
    const finish = (contents: FuseContents): void =>
      this.answers.data(unique, this.keep(handle, file, takeSnapshot(contents, this.options.fileLimit)), offset, size);
    const contents = node.contents(never);
    return contents instanceof Promise ? contents.then(finish) : finish(contents);
  }

  private async readLater(
    unique: number,
    handle: number,
    file: OpenFile,
    node: FuseFile,
    offset: number,
    size: number,
  ): Promise<void> {
    const abort = new AbortController();
    this.waiting.set(unique, abort);
    try {
      const made = (async () =>
        gatherSnapshot(await node.contents(abort.signal), this.options.fileLimit, abort.signal))();
      file.pending = made;
      const data = this.keep(handle, file, await untilAborted(made, abort.signal));
      this.answers.data(unique, data, offset, size);
    } finally {
      file.pending = undefined;
      this.waiting.delete(unique);
    }
  }

  /** Holds a snapshot for the reads that follow, unless the file was closed meanwhile. Throws ENOMEM over the budget. */
  private keep(handle: number, file: OpenFile, snapshot: Buffer): Buffer {
    if (this.open.get(handle) !== file) return snapshot;
    const growth = snapshot.length - (file.snapshot?.length ?? 0);
    if (growth > 0 && this.heldBytes + growth > this.options.totalLimit) {
      throw new FuseError(
        errno.ENOMEM,
        `open files hold ${this.heldBytes} bytes already, ${growth} more were asked for`,
      );
    }
    this.heldBytes += growth;
    file.snapshot = snapshot;
    return snapshot;
  }

  private newOpenFile(handle: number): OpenFile {
    if (this.open.size >= openLimit) throw new FuseError(errno.ENOMEM, `${openLimit} files are open`);
    const file: OpenFile = { snapshot: undefined, entries: undefined, pending: undefined };
    this.open.set(handle, file);
    return file;
  }

  private close(handle: number): void {
    const file = this.open.get(handle);
    if (file === undefined) return;
    this.heldBytes -= file.snapshot?.length ?? 0;
    this.open.delete(handle);
  }

  private readFolder(
    unique: number,
    id: number,
    handle: number,
    offset: number,
    size: number,
    plus: boolean,
  ): void | Promise<void> {
    const folder = this.folder(id);
    let entries = folder.fixed ? undefined : this.open.get(handle)?.entries;
    if (entries === undefined || offset === 0) {
      entries = folder.list();
      // A listing that changes while it is read in pieces would lose or repeat names: all pieces come from one.
      if (!folder.fixed) (this.open.get(handle) ?? this.newOpenFile(handle)).entries = entries;
    }
    if (entries instanceof Promise) {
      return this.interruptible(unique, entries).then((list) =>
        this.answers.entries(unique, folder, list, offset, size, plus),
      );
    }
    this.answers.entries(unique, folder, entries, offset, size, plus);
  }

  /**
   * The reader has a signal pending. What comes soon is still given: the kernel also takes internal work of the reader's
   * thread (io_uring's, which libuv uses) for a signal, and few programs expect EINTR of a file.
   */
  private interrupt(unique: number): void {
    const abort = this.waiting.get(unique);
    if (abort === undefined) return;
    setTimeout(() => abort.abort(new FuseError(errno.EINTR, "interrupted")), graceMilliseconds);
  }

  private forgetMany(words: Uint32Array, length: number): void {
    const body = inHeader.words;
    const count = Math.min(words[body]!, Math.floor((length - inHeader.bytes - 8) / 16));
    for (let i = 0; i < count; i++) {
      const at = body + 2 + 4 * i;
      this.options.tree.release?.(getU64(words, at), getU64(words, at + 2));
    }
  }

  private node(id: number): FuseNode {
    const node = this.options.tree.node(id);
    if (node === undefined) throw new FuseError(errno.ESTALE, `no node ${id}`);
    return node;
  }

  private folder(id: number): FuseFolder {
    const node = this.node(id);
    if (node.kind !== "folder") throw new FuseError(errno.ENOTDIR, `node ${id} is not a folder`);
    return node;
  }

  private file(id: number): FuseFile {
    const node = this.node(id);
    if (node.kind !== "file") throw new FuseError(errno.EISDIR, `node ${id} is a folder`);
    return node;
  }

  /** A promise that also ends, with EINTR, when the kernel says that the reader has been interrupted. */
  private async interruptible<T>(unique: number, promise: Promise<T>): Promise<T> {
    const abort = new AbortController();
    this.waiting.set(unique, abort);
    try {
      return await untilAborted(promise, abort.signal);
    } finally {
      this.waiting.delete(unique);
    }
  }

  private fail(unique: number, op: number, error: unknown): void {
    const number = errnoFor(error, op);
    if (toldInLog.has(number)) {
      this.options.log(error instanceof Error ? error.message : String(error));
    }
    this.answers.error(unique, number);
  }
}

/** Failures that say more than their errno can; the others are everyday answers. */
const toldInLog: ReadonlySet<number> = new Set([errno.EIO, errno.ENOMEM, errno.EACCES, errno.ETIMEDOUT]);

const never: AbortSignal = new AbortController().signal;

function errnoFor(error: unknown, op: number): number {
  if (error instanceof FuseError) return error.errno;
  if (error instanceof ProcscopeError) {
    if (error.code === "NO_PROCESS") return op === opcode.read || op === opcode.getattr ? errno.ESRCH : errno.ENOENT;
    if (error.code === "PERMISSION") return errno.EACCES;
  }
  return errnoOf(error) === "ESRCH" ? errno.ESRCH : errno.EIO;
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
