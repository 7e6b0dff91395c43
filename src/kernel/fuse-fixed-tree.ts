/** A tree whose names are known from the start: folders and files are added once, then served. */
import { fileType } from "./fuse-protocol.ts";
import type { FuseContents, FuseEntries, FuseFile, FuseFolder, FuseNode, FuseTree } from "./fuse-tree.ts";

export interface FixedTreeOptions {
  readonly uid?: number;
  readonly gid?: number;
  /** Permission bits of files; folders get the search bit wherever files can be read. */
  readonly mode?: number;
  /** For how long the kernel may keep names and attributes, in seconds. */
  readonly ttl?: number;
}

export class FixedTree implements FuseTree {
  readonly root: FixedFolder;
  private readonly nodes: FuseNode[] = [];
  private readonly options: Required<FixedTreeOptions>;
  private readonly started = Date.now() / 1000;

  constructor(options: FixedTreeOptions = {}) {
    this.options = { uid: 0, gid: 0, mode: 0o444, ttl: 1, ...options };
    this.root = this.newFolder(1);
  }

  node(id: number): FuseNode | undefined {
    return this.nodes[id];
  }

  /** Adds a file at a path like "mem/heap", and the folders that lead there. Returns the file. */
  file(path: string, contents: (signal: AbortSignal) => FuseContents | Promise<FuseContents>): FuseFile {
    const words = path.split("/");
    const name = words.pop()!;
    const folder = words.reduce((at, word) => this.folderIn(at, word), this.root);
    const file: FuseFile = { ...this.attributes(fileType.regular | this.options.mode), kind: "file", contents };
    this.nodes[file.id] = file;
    folder.add(name, file);
    return file;
  }

  private folderIn(parent: FixedFolder, name: string): FixedFolder {
    const there = parent.lookup(name);
    if (there instanceof FixedFolder) return there;
    const folder = this.newFolder(parent.id);
    parent.add(name, folder);
    return folder;
  }

  private newFolder(parent: number): FixedFolder {
    const mode = this.options.mode | ((this.options.mode & 0o444) >> 2);
    const folder = new FixedFolder(this.attributes(fileType.folder | mode), parent);
    this.nodes[folder.id] = folder;
    return folder;
  }

  private attributes(mode: number) {
    const { uid, gid, ttl } = this.options;
    return { id: Math.max(1, this.nodes.length), mode, uid, gid, ttl, time: this.started };
  }
}

class FixedFolder implements FuseFolder {
  readonly kind = "folder";
  readonly fixed = true;
  readonly id: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly ttl: number;
  readonly time: number;
  readonly parent: number;
  private readonly byName = new Map<string, FuseNode>();
  private entries: FuseEntries | undefined;

  constructor(attributes: Omit<FuseFolder, "kind" | "parent" | "fixed" | "list" | "lookup">, parent: number) {
    this.id = attributes.id;
    this.mode = attributes.mode;
    this.uid = attributes.uid;
    this.gid = attributes.gid;
    this.ttl = attributes.ttl;
    this.time = attributes.time;
    this.parent = parent;
  }

  add(name: string, node: FuseNode): void {
    this.byName.set(name, node);
    this.entries = undefined;
  }

  list(): FuseEntries {
    this.entries ??= [...this.byName];
    return this.entries;
  }

  lookup(name: string): FuseNode | undefined {
    return this.byName.get(name);
  }
}
