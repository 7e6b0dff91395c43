/**
 * The folders of data sources as nodes. Their files come and go, so a node is kept from when the kernel is told of it
 * until the kernel has forgotten it as often as it was told.
 */
import { fileType } from "../kernel/fuse-protocol.ts";
import type { FuseContents, FuseEntries, FuseNode } from "../kernel/fuse-tree.ts";
import type { Metadata } from "./data-source.ts";
import type { SourceClient } from "./source-client.ts";

export interface Ownership {
  readonly uid: number;
  readonly gid: number;
  readonly fileMode: number;
  readonly folderMode: number;
}

type SourceNode = FuseNode & { readonly path: string };

/** Below it are the numbers of the nodes that are always there. */
const firstNumber = 1000;

export class SourceFolders {
  private readonly client: SourceClient;
  private readonly owner: Ownership;
  private readonly nodes = new Map<number, SourceNode>();
  private readonly paths = new Map<string, SourceNode>();
  private readonly known = new Map<number, number>();
  private next = firstNumber;

  constructor(client: SourceClient, owner: Ownership) {
    this.client = client;
    this.owner = owner;
  }

  /** How many nodes the kernel knows, for tests against leaks. */
  get size(): number {
    return this.nodes.size;
  }

  node(id: number): FuseNode | undefined {
    return this.nodes.get(id);
  }

  list(): FuseEntries {
    return this.client.names.map((name) => [name, this.folder(name)]);
  }

  lookup(name: string): FuseNode | undefined {
    return this.client.names.includes(name) ? this.folder(name) : undefined;
  }

  retain(node: FuseNode): void {
    if (!("path" in node)) return;
    const kept = node as SourceNode;
    this.known.set(kept.id, (this.known.get(kept.id) ?? 0) + 1);
    this.nodes.set(kept.id, kept);
    this.paths.set(kept.path, kept);
  }

  release(id: number, count: number): void {
    const node = this.nodes.get(id);
    if (node === undefined) return;
    const left = (this.known.get(id) ?? 0) - count;
    if (left > 0) {
      this.known.set(id, left);
      return;
    }
    this.known.delete(id);
    this.nodes.delete(id);
    if (this.paths.get(node.path)?.id === id) this.paths.delete(node.path);
  }

  private folder(name: string): FuseNode {
    const there = this.paths.get(name);
    if (there !== undefined) return there;
    const folder: SourceNode = {
      ...this.attributes(name, fileType.folder | this.owner.folderMode),
      kind: "folder",
      parent: 1,
      list: async () => {
        const entries: [string, FuseNode][] = [];
        for (const file of await this.files(name)) entries.push([file, this.file(name, file, undefined)]);
        return entries;
      },
      lookup: async (file) => {
        if (!(await this.files(name)).includes(file)) return undefined;
        const metadata = (await this.client.ask("metadata", name, file)) as Metadata | undefined;
        return this.file(name, file, metadata);
      },
    };
    return folder;
  }

  private async files(source: string): Promise<readonly string[]> {
    return ((await this.client.ask("list", source)) ?? []) as readonly string[];
  }

  private file(source: string, name: string, metadata: Metadata | undefined): FuseNode {
    const time = typeof metadata?.mtime === "number" ? metadata.mtime : Date.now() / 1000;
    const file: SourceNode = {
      ...this.attributes(`${source}/${name}`, fileType.regular | this.owner.fileMode),
      time,
      ...(metadata?.size === undefined ? {} : { size: metadata.size }),
      kind: "file",
      contents: async (signal) => {
        const contents = await this.client.ask("contents", source, name, signal);
        if (typeof contents === "string" || contents instanceof Uint8Array) return contents as FuseContents;
        throw new Error(`${source}/${name}: contents() gave ${contents === undefined ? "nothing" : typeof contents}`);
      },
    };
    return file;
  }

  /** A path has the number under which the kernel knows it, or a new one. */
  private attributes(path: string, mode: number) {
    const { uid, gid } = this.owner;
    return { id: this.paths.get(path)?.id ?? this.next++, path, mode, uid, gid, ttl: 0, time: Date.now() / 1000 };
  }
}
