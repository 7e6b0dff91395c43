/**
 * The goinfo tree over Go processes, seen from outside; the module that the serving threads load. The numbers of nodes
 * follow from the pid and the place in the folder, so both threads, and a server that succeeds a dead one, agree on them
 * without a word.
 */
import type { Pid } from "../base/units.ts";
import { fileType, opcode } from "../kernel/fuse-protocol.ts";
import { takeSnapshot } from "../kernel/fuse-snapshot.ts";
import { defaultLimits, type ServedTree } from "../kernel/fuse-threads.ts";
import type { FuseContents, FuseEntries, FuseFile, FuseFolder, FuseNode } from "../kernel/fuse-tree.ts";
import { goFiles } from "./go-files.ts";
import { type GoProcessEntry, GoProcesses } from "./go-processes.ts";
import type { GoFile, GoView, OpenGoView } from "./go-view.ts";

export interface GoTreeOptions {
  /** The one process whose folder is the root; absent, the root holds a folder for each Go process. */
  readonly target?: GoTarget;
  /** Permission bits of files. */
  readonly mode: number;
  /** For how long a file's text is kept, in seconds; 0: it is made at each read. */
  readonly ttl: number;
}

/** A process named for good: another one that gets its pid is not it. */
export interface GoTarget {
  readonly identity: number;
  readonly uid: number;
  readonly gid: number;
}

/** Room for the nodes of one process; its folder itself is number 0. */
const nodesPerProcess = 256;
const rootId = 1;

/** The places in a process's folder: number, path, and a file's source. */
interface Place {
  readonly number: number;
  readonly name: string;
  readonly parent: number;
  readonly file: GoFile | undefined;
}

const places: readonly Place[] = layOut();
const childrenOf: readonly (readonly Place[])[] = places.map(({ number }) =>
  places.slice(1).filter((place) => place.parent === number),
);

function layOut(): Place[] {
  const made: Place[] = [{ number: 0, name: "", parent: 0, file: undefined }];
  const add = (parent: number, name: string, file: GoFile | undefined): number => {
    const there = made.find((place) => place.parent === parent && place.name === name && place.number > 0);
    if (there !== undefined) return there.number;
    made.push({ number: made.length, name, parent, file });
    return made.length - 1;
  };
  for (const file of goFiles) {
    const words = file.path.split("/");
    const folder = words.slice(0, -1).reduce((at, word) => add(at, word, undefined), 0);
    add(folder, words.at(-1)!, file);
  }
  return made;
}

/** What a tree needs from the world outside: how to look into a process, and which processes there are. */
export interface GoTreeSources {
  readonly open: OpenGoView;
  readonly list: () => readonly Pid[];
  readonly isGo: (pid: Pid) => boolean;
}

export class GoTree implements ServedTree {
  private readonly options: GoTreeOptions;
  private readonly sources: GoTreeSources;
  private readonly processes: GoProcesses;

  constructor(options: GoTreeOptions, sources: GoTreeSources) {
    this.options = options;
    this.sources = sources;
    this.processes = new GoProcesses(sources.open);
  }

  elsewhere(op: number, id: number): boolean {
    if (op !== opcode.read && op !== opcode.release) return false;
    return id >= nodesPerProcess && places[id % nodesPerProcess]?.file?.heavy === true;
  }

  node(id: number): FuseNode | undefined {
    if (id === rootId)
      return this.options.target === undefined ? this.rootOfAll() : this.rootOfOne(this.options.target);
    const place = places[id % nodesPerProcess];
    if (id < nodesPerProcess || place === undefined) return undefined;
    return this.nodeAt(this.processes.same(Math.floor(id / nodesPerProcess)), place);
  }

  /** The folder of the one process; an empty one, for whoever still looks at it, after the process has gone. */
  private rootOfOne(target: GoTarget): FuseNode {
    try {
      return this.nodeAt(this.processes.same(target.identity), places[0]!);
    } catch {
      const { uid, gid } = target;
      const mode = fileType.folder | folderMode(this.options.mode);
      const nothing = { list: () => [], lookup: () => undefined };
      return {
        kind: "folder",
        id: rootId,
        parent: rootId,
        mode,
        uid,
        gid,
        time: Date.now() / 1000,
        ttl: 0,
        ...nothing,
      };
    }
  }

  /** A node is the same object as long as its owner is the same. */
  private nodeAt(entry: GoProcessEntry, place: Place): FuseNode {
    const there = entry.nodes[place.number];
    if (there !== undefined && there.uid === entry.uid && there.gid === entry.gid) return there;
    const made = place.file === undefined ? this.folder(entry, place) : this.file(entry, place, place.file);
    entry.nodes[place.number] = made;
    return made;
  }

  private folder(entry: GoProcessEntry, place: Place): FuseFolder {
    const children = childrenOf[place.number]!;
    return {
      ...this.attributes(entry, place, fileType.folder | folderMode(this.options.mode)),
      kind: "folder",
      // The root of one process becomes empty when that ends; a folder below is not reached any more.
      fixed: !(place.number === 0 && this.options.target !== undefined),
      parent: place.number === 0 ? rootId : this.idOf(entry, places[place.parent]!),
      list: () => {
        const alive = this.processes.same(entry.identity);
        return children.map((child) => [child.name, this.nodeAt(alive, child)]);
      },
      lookup: (name) => {
        const child = children.find((place) => place.name === name);
        if (child === undefined) return undefined;
        const alive = this.processes.same(entry.identity);
        alive.readOwner();
        return this.nodeAt(alive, child);
      },
    };
  }

  private file(entry: GoProcessEntry, place: Place, file: GoFile): FuseFile {
    return {
      ...this.attributes(entry, place, fileType.regular | this.options.mode),
      kind: "file",
      open: () => void this.processes.same(entry.identity),
      contents: () => this.contents(entry, place, file),
    };
  }

  private contents(entry: GoProcessEntry, place: Place, file: GoFile): FuseContents | Promise<FuseContents> {
    const kept = entry.kept.get(place.number);
    if (kept !== undefined && performance.now() < kept.until) return kept.text;
    const view = entry.view();
    const make = (open: GoView): FuseContents => {
      const contents = file.contents(open);
      if (this.options.ttl === 0) return contents;
      const text = takeSnapshot(contents, defaultLimits.fileLimit);
      entry.kept.set(place.number, { text, until: performance.now() + this.options.ttl * 1000 });
      return text;
    };
    return view instanceof Promise ? view.then(make) : make(view);
  }

  /**
   * The first names on the way to a process are looked up at every use, so that they vanish with it; below, the kernel
   * may keep names for a second.
   */
  private attributes(entry: GoProcessEntry, place: Place, mode: number) {
    const first = this.options.target === undefined ? place.number === 0 : place.parent === 0;
    return {
      id: this.idOf(entry, place),
      mode,
      uid: entry.uid,
      gid: entry.gid,
      time: entry.startedAt,
      ttl: first ? 0 : 1,
    };
  }

  private idOf(entry: GoProcessEntry, place: Place): number {
    if (place.number === 0 && this.options.target !== undefined) return rootId;
    return entry.identity * nodesPerProcess + place.number;
  }

  private rootOfAll(): FuseFolder {
    return {
      kind: "folder",
      id: rootId,
      parent: rootId,
      mode: fileType.folder | 0o555,
      uid: process.geteuid?.() ?? 0,
      gid: process.getegid?.() ?? 0,
      time: Date.now() / 1000,
      ttl: 1,
      list: () => this.listAll(),
      lookup: (name) => this.lookupProcess(name),
    };
  }

  private listAll(): FuseEntries {
    const pids = this.sources.list();
    this.processes.keepOnly(new Set(pids));
    const entries: [string, FuseNode][] = [];
    for (const pid of pids) {
      try {
        const entry = this.processes.get(pid);
        entry.isGo = true;
        entries.push([entry.name, this.nodeAt(entry, places[0]!)]);
      } catch {
        // It ended between the two looks.
      }
    }
    return entries;
  }

  private lookupProcess(name: string): FuseNode | undefined {
    const pid = Number(/^([1-9]\d{0,9})-/.exec(name)?.[1] ?? 0);
    if (pid === 0) return undefined;
    const entry = this.processes.get(pid);
    entry.isGo ??= this.sources.isGo(pid);
    if (!entry.isGo) return undefined;
    entry.readOwner();
    return entry.name === name ? this.nodeAt(entry, places[0]!) : undefined;
  }
}

/** Whoever may read files may search their folders. */
function folderMode(mode: number): number {
  return mode | ((mode & 0o444) >> 2);
}
