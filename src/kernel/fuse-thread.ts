/** The program of the threads of fuse-threads.ts. */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { letNodeEnd } from "../base/clean-exit.ts";
import { assert } from "../base/errors.ts";
import { replyTo, requestResend, serveBlocking } from "./fuse-device.ts";
import { getU64, inHeader, opcode } from "./fuse-protocol.ts";
import { FuseSession } from "./fuse-session.ts";
import type { CreateTree, ServedTree, ThreadData, ThreadMessage } from "./fuse-threads.ts";
import { RateLimitedLog } from "./log-limit.ts";

const data = workerData as ThreadData;
const requests = data.requests as MessagePort;

function tell(message: ThreadMessage): void {
  parentPort?.postMessage(message);
}

const log = new RateLimitedLog((message) => tell({ kind: "log", message }));

async function makeTree(): Promise<ServedTree> {
  const module = (await import(data.tree.module)) as { createTree?: CreateTree };
  assert(module.createTree, `${data.tree.module} exports no createTree`);
  return module.createTree(data.tree.options, {
    thread: data.thread,
    log: (message) => log.write(message),
    port: data.port,
  });
}

function newSession(tree: ServedTree): FuseSession {
  return new FuseSession({
    tree,
    reply: replyTo(data.fd),
    log: (message) => log.write(message),
    ...data.limits,
    generation: data.generation,
    interruptible: data.thread === "back",
    onInit: (info) => tell({ kind: "init", info }),
  });
}

async function runFront(): Promise<void> {
  const tree = await makeTree();
  const session = newSession(tree);
  if (data.resend && !requestResend(data.fd)) log.write("this kernel cannot send again what was left unanswered");
  tell({ kind: "ready" });
  const stop = new Int32Array(data.stop);
  const handle = (bytes: Buffer, words: Uint32Array, length: number): void | Promise<void> => {
    const op = words[inHeader.opcode]!;
    if (tree.elsewhere !== undefined && op !== opcode.init) {
      // Both threads are told of interrupts and of forgotten nodes: only one of them knows the request or the node.
      const both = op === opcode.interrupt || op === opcode.forget || op === opcode.batchForget;
      const elsewhere = both || tree.elsewhere(op, getU64(words, inHeader.node));
      if (elsewhere) requests.postMessage(bytes.buffer.slice(0, length));
      if (elsewhere && !both) return undefined;
    }
    return session.handle(bytes, words, length);
  };
  await serveBlocking(data.fd, handle, () => Atomics.load(stop, 0) !== 0);
  tell({ kind: "ended" });
  requests.close();
}

async function runBack(): Promise<void> {
  const session = newSession(await makeTree());
  requests.on("message", (copy: ArrayBuffer) => {
    // Lengths of requests are multiples of 8 but for names, which no field follows.
    const words = new Uint32Array(copy, 0, copy.byteLength >> 2);
    void session.handle(Buffer.from(copy), words, copy.byteLength);
  });
  requests.on("close", () => {
    letNodeEnd();
    process.exit(0);
  });
  parentPort?.on("message", () => tell({ kind: "held", ...session.held }));
  tell({ kind: "ready" });
}

await (data.thread === "front" ? runFront() : runBack());
