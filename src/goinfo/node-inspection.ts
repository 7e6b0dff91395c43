/**
 * Looking into the main thread of our own process from another thread, through the inspector's connection to it. V8
 * runs what is asked at the next loop or function entry, also while the main thread never returns to its event loop, and
 * even in Atomics.wait; only in a system call or other native code there is no answer until it returns.
 *
 * A session lives for one question: an open one at the end of the process would make Node wait for a debugger.
 */
import type { Session } from "node:inspector";

/** Evaluates an expression in the main thread; rejects where it throws. Resolves late, or never, while that is blocked. */
export async function evaluateInMain(expression: string): Promise<unknown> {
  const session = await connect();
  try {
    return await evaluate(session, expression);
  } finally {
    session.disconnect();
  }
}

export interface ThreadStack {
  readonly title: string;
  /** The stack's lines, innermost first; undefined where the thread gave no answer. */
  readonly frames: readonly string[] | undefined;
}

/** The stacks of the main thread and of all workers but our own, those without an answer in time marked so. */
export async function stacksOfThreads(waitMilliseconds: number): Promise<ThreadStack[]> {
  const session = await connect();
  try {
    const workers = new Map<string, ThreadStack>();
    const answered = collectWorkers(session, workers);
    const main = await inTime(evaluate(session, stackExpression), waitMilliseconds);
    if (main !== undefined) await inTime(answered(), waitMilliseconds);
    return [{ title: "main thread", frames: frames(main) }, ...workers.values()];
  } finally {
    // Events that are still on their way must not post to a session that is closed.
    session.removeAllListeners();
    session.disconnect();
  }
}

/** What the promise gives, or undefined where it takes longer. */
export async function inTime<T>(promise: Promise<T>, milliseconds: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, milliseconds, undefined);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

const stackExpression = `(() => {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 200;
  try { return String(new Error().stack); } finally { Error.stackTraceLimit = limit; }
})()`;

/** The names of our own threads begin so; fuse-threads.ts gives them. */
const ownThread = /\bprocscope fuse\b/;

async function connect(): Promise<Session> {
  const { Session: InspectorSession } = await import("node:inspector");
  const session = new InspectorSession();
  session.connectToMainThread();
  return session;
}

function evaluate(session: Session, expression: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    session.post("Runtime.evaluate", { expression, returnByValue: true, silent: true }, (error, result) => {
      if (error) reject(error);
      else if (result.exceptionDetails) reject(new Error(result.exceptionDetails.text));
      else resolve(result.result.value);
    });
  });
}

/** Asks every worker that reports itself for its stack; the function returned waits until all have answered. */
function collectWorkers(session: Session, workers: Map<string, ThreadStack>): () => Promise<void> {
  const open = new Set<string>();
  let allAnswered = (): void => {};
  session.on("NodeWorker.attachedToWorker", ({ params }) => {
    const { sessionId, workerInfo } = params;
    if (ownThread.test(workerInfo.title)) return;
    open.add(sessionId);
    workers.set(sessionId, { title: workerInfo.title.replace(/^\[(.*)\]/, "$1"), frames: undefined });
    const message = JSON.stringify({ id: 1, method: "Runtime.evaluate", params: { expression: stackExpression } });
    session.post("NodeWorker.sendMessageToWorker", { sessionId, message });
  });
  session.on("NodeWorker.receivedMessageFromWorker", ({ params }) => {
    const answer = JSON.parse(params.message) as { id?: number; result?: { result?: { value?: unknown } } };
    const worker = workers.get(params.sessionId);
    if (answer.id !== 1 || worker === undefined) return;
    workers.set(params.sessionId, { ...worker, frames: frames(answer.result?.result?.value) });
    open.delete(params.sessionId);
    if (open.size === 0) allAnswered();
  });
  session.post("NodeWorker.enable", { waitForDebuggerOnStart: false });
  return () =>
    new Promise((resolve) => {
      allAnswered = resolve;
      if (open.size === 0) resolve();
    });
}

/** The lines of a stack without the message and without our own expression. */
function frames(stack: unknown): readonly string[] | undefined {
  if (typeof stack !== "string") return undefined;
  const lines = stack.split("\n").slice(1);
  return lines.filter((line) => !/^\s*at <anonymous>:\d+:\d+$/.test(line)).map((line) => line.trim());
}
