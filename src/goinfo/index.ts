/**
 * The goinfo tree over a Node program itself: `await start("~/node/myapp")`, then `cat ~/node/myapp/mem/genmem`. Other
 * threads serve it, so the program's event loop is not held up, and mem/* is live even while that loop is blocked.
 */
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import type { MountMethod } from "../kernel/fuse-mount.ts";
import { FuseServer } from "../kernel/fuse-server.ts";
import { answerQuestion, checkSource, type DataSource, type SourceNames, type SourceQuestion } from "./data-source.ts";
import { samplerKey } from "./main-sampler.ts";
import { GcCounter, type NodeMemory, takeNodeMemory } from "./node-memory.ts";
import type { NodeTreeOptions } from "./node-tree.ts";

export type { Contents, DataSource, Metadata } from "./data-source.ts";

export interface StartOptions {
  /** Permission bits of the files; the owner alone may read them unless this says otherwise (0400). */
  readonly mode?: number;
  /** How long a data source may take to answer, in milliseconds (2000). A read that waits longer fails. */
  readonly timeout?: number;
  /** Where reasons of failed reads go; standard error unless given. */
  readonly log?: (message: string) => void;
  /** How to mount; by what is there unless given. */
  readonly method?: MountMethod;
}

interface Mounted {
  readonly server: FuseServer;
  readonly port: MessagePort;
}

const mounts = new Map<string, Promise<Mounted>>();
const sources = new Map<string, DataSource>();
let gc: GcCounter | undefined;

/**
 * Mounts the tree at a folder, which is created where only it is missing; `~` is the home folder. Resolves when it can be
 * read; a second start at the same place does nothing. The mount does not keep the program alive and is taken down when
 * it ends, in whichever way. Throws ProcscopeError where it cannot be mounted.
 */
export async function start(mountPoint: string, options: StartOptions = {}): Promise<void> {
  const place = placeOf(mountPoint);
  let mounted = mounts.get(place);
  if (mounted === undefined) {
    mounted = mount(place, options);
    mounts.set(place, mounted);
    const forget = (): void => {
      if (mounts.get(place) === mounted) mounts.delete(place);
      if (mounts.size === 0) stopSampling();
    };
    // Gone by umount(8) or by an error: a later start mounts anew.
    mounted.then(({ server }) => server.ended.then(forget, forget), forget);
  }
  await mounted;
}

/** Takes the mount at that folder down; resolves when it is gone. Nothing happens where there is none. */
export async function stop(mountPoint: string): Promise<void> {
  const mounted = await mounts.get(placeOf(mountPoint))?.catch(() => undefined);
  await mounted?.server.stop();
}

/** Takes all mounts of this program down. */
export async function stopAll(): Promise<void> {
  await Promise.all([...mounts.keys()].map(stop));
}

/** Adds a folder to all mounts, those of now and those to come; one of the same name replaces it. Throws USAGE. */
export function addSource(source: DataSource): void {
  checkSource(source);
  sources.set(source.name, source);
  for (const mounted of mounts.values()) mounted.then(({ port }) => tellNames(port)).catch(() => {});
}

async function mount(place: string, options: StartOptions): Promise<Mounted> {
  const sample = startSampling();
  const { port1: port, port2 } = new MessageChannel();
  port.on("message", async (question: SourceQuestion) => {
    const answer = await answerQuestion(sources, question);
    try {
      port.postMessage(answer);
    } catch {
      const error = `${question.source}/${question.file}: this cannot be sent to another thread`;
      port.postMessage({ number: question.number, error });
    }
  });
  port.unref();
  tellNames(port);
  const treeOptions: NodeTreeOptions = {
    mode: options.mode ?? 0o400,
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    timeout: options.timeout ?? 2000,
    first: sample(),
  };
  const close = (): void => port.close();
  const server = await FuseServer.start({
    directory: place,
    tree: { module: new URL("./node-tree.js", import.meta.url).href, options: treeOptions, backPort: port2 },
    method: options.method,
    log: options.log ?? ((message) => process.stderr.write(`procscope/goinfo: ${message}\n`)),
  }).catch((error: unknown) => {
    close();
    throw error;
  });
  server.unref();
  server.ended.then(close, close);
  return { server, port };
}

function tellNames(port: MessagePort): void {
  port.postMessage({ names: [...sources.keys()] } satisfies SourceNames);
}

/** Puts the function that takes a sample where the serving thread finds it. */
function startSampling(): () => NodeMemory {
  gc ??= new GcCounter();
  const counter = gc;
  const sample = (): NodeMemory => takeNodeMemory(counter.now);
  Object.defineProperty(globalThis, Symbol.for(samplerKey), { value: sample, configurable: true, enumerable: false });
  return sample;
}

function stopSampling(): void {
  gc?.stop();
  gc = undefined;
  Reflect.deleteProperty(globalThis, Symbol.for(samplerKey));
}

/** The absolute path of a mount point, `~` and `~/…` being in the home folder. */
export function placeOf(mountPoint: string): string {
  const expanded =
    mountPoint === "~" || mountPoint.startsWith("~/") ? join(homedir(), mountPoint.slice(1)) : mountPoint;
  return resolve(expanded);
}
