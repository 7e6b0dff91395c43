import type { NodeAttributes } from "./fuse-protocol.ts";

/**
 * What a FUSE server shows: folders and files that the kernel names by number. Every method may answer at once or with
 * a promise; an answer at once costs least. Throw {@link FuseError} for an errno, or ProcscopeError NO_PROCESS where
 * the process behind a node has gone (ENOENT for names, ESRCH for an open file, as procfs answers); everything else that
 * is thrown becomes EIO with the reason in the log.
 */
export interface FuseTree {
  /** The node of that number, 1 being the root; undefined where there is none (the kernel then sees ESTALE). */
  node(id: number): FuseNode | undefined;
  /** The kernel has been told of the node once more. Only trees that make nodes as they go need it. */
  retain?(node: FuseNode): void;
  /** The kernel has dropped `count` of the times that it was told of the node. */
  release?(id: number, count: number): void;
}

export type FuseNode = FuseFolder | FuseFile;

export interface FuseFolder extends NodeAttributes {
  readonly kind: "folder";
  readonly parent: number;
  /** The entries can never change: the kernel may keep the listing. */
  readonly fixed?: boolean;
  list(): FuseEntries | Promise<FuseEntries>;
  lookup(name: string): FuseNode | undefined | Promise<FuseNode | undefined>;
}

export interface FuseFile extends NodeAttributes {
  readonly kind: "file";
  /** Called when the file is opened; throws where it cannot be. */
  open?(): void;
  /** The whole file as it is now. Pieces may be given as an iterable, which is cut at the limit of one open file. */
  contents(signal: AbortSignal): FuseContents | Promise<FuseContents>;
}

export type FuseEntries = readonly (readonly [name: string, node: FuseNode])[];
export type FuseContents = string | Uint8Array | Iterable<string | Uint8Array>;

/** An errno as the answer to a request. */
export class FuseError extends Error {
  readonly errno: number;

  constructor(errno: number, message: string) {
    super(message);
    this.name = "FuseError";
    this.errno = errno;
  }
}
