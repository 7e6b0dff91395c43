/** The tree over a Node program itself; the module that its serving threads load. */
import { readFileSync } from "node:fs";
import type { MessagePort } from "node:worker_threads";
import { FixedTree } from "../kernel/fuse-fixed-tree.ts";
import type { CreateTree, ServedTree, TreeContext } from "../kernel/fuse-threads.ts";
import type { FuseEntries, FuseNode } from "../kernel/fuse-tree.ts";
import { MainSampler } from "./main-sampler.ts";
import { jsonLine, memoryFiles, memoryLine } from "./memory-lines.ts";
import { inTime, stacksOfThreads } from "./node-inspection.ts";
import { type NodeMemory, nodeFigures } from "./node-memory.ts";
import { SourceClient } from "./source-client.ts";
import { SourceFolders } from "./source-folders.ts";

export interface NodeTreeOptions {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** How long a data source may take, in milliseconds. */
  readonly timeout: number;
  /** Taken before the mount was there, so that there is a last sample from the beginning. */
  readonly first: NodeMemory;
}

export const createTree: CreateTree = (options, context) =>
  // Everything is answered by the back thread, which has an event loop: the inspector and the data sources need one.
  context.thread === "front"
    ? { node: () => undefined, elsewhere: () => true }
    : nodeTree(options as NodeTreeOptions, context);

/** For how long threads may keep a reader of their stacks waiting. */
const stackPatience = 200;

function nodeTree(options: NodeTreeOptions, context: TreeContext): ServedTree {
  const { uid, gid, mode } = options;
  const fixed = new FixedTree({ uid, gid, mode });
  const sampler = new MainSampler(options.first);
  for (const { name, fields } of memoryFiles) {
    fixed.file(`mem/${name}`, async () =>
      memoryLine(fields, nodeFigures((await sampler.sample()).memory, stackBytes())),
    );
  }
  fixed.file("mem/all.json", async () => {
    const { memory, live, ageMilliseconds } = await sampler.sample();
    return jsonLine({
      pid: process.pid,
      takenAt: new Date(memory.takenAt).toISOString(),
      live,
      ageMilliseconds,
      figures: nodeFigures(memory, stackBytes()),
      v8: { ...memory.heap, spaces: memory.spaces },
      memoryUsage: memory.usage,
      gc: memory.gc,
    });
  });
  fixed.file("st/stacktrace", stacktrace);
  fixed.file("info", info);

  const client = new SourceClient(context.port as MessagePort, options.timeout);
  const sources = new SourceFolders(client, { uid, gid, fileMode: mode, folderMode: fixed.root.mode & 0o777 });
  const root = withSources(fixed, sources);
  return {
    node: (id) => (id === 1 ? root : (fixed.node(id) ?? sources.node(id))),
    retain: (node) => sources.retain(node),
    release: (id, count) => sources.release(id, count),
  };
}

/** The root: what is always there, then the sources as they are now. */
function withSources(fixed: FixedTree, sources: SourceFolders): FuseNode {
  const { id, mode, uid, gid, time, parent } = fixed.root;
  return {
    ...{ id, mode, uid, gid, time, parent, ttl: 0 },
    kind: "folder",
    list: (): FuseEntries => [...fixed.root.list(), ...sources.list()],
    lookup: (name) => fixed.root.lookup(name) ?? sources.lookup(name),
  };
}

/** All threads' stacks as V8 writes them, one blank line between two threads. */
async function stacktrace(): Promise<string> {
  const patience = stackPatience * 2 + 100;
  const threads = (await inTime(stacksOfThreads(stackPatience), patience)) ?? [
    { title: "main thread", frames: undefined },
  ];
  return threads
    .map(({ title, frames }) => {
      if (frames === undefined) return `${title} [no answer: in a system call or native code]:\n`;
      const state = frames.length === 0 ? "idle" : "running";
      return `${title} [${state}]:\n${frames.map((frame) => `\t${frame}\n`).join("")}`;
    })
    .join("\n");
}

function info(): string {
  const startedAt = new Date(Date.now() - process.uptime() * 1000).toISOString();
  return [
    `pid ${process.pid}`,
    `node ${process.version}`,
    `v8 ${process.versions.v8}`,
    `exe ${process.execPath}`,
    `platform ${process.platform} ${process.arch}`,
    `started ${startedAt}`,
    "",
  ].join("\n");
}

/** The main thread's stack, VmStk of proc_pid_status(5). */
function stackBytes(): number | undefined {
  const match = /^VmStk:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "latin1"));
  return match ? Number(match[1]) * 1024 : undefined;
}
