/** The serving thread's side of the data sources: questions to the main thread, which may be slow or blocked. */
import type { MessagePort } from "node:worker_threads";
import { errno } from "../kernel/fuse-protocol.ts";
import { FuseError } from "../kernel/fuse-tree.ts";
import type { SourceAnswer, SourceNames, SourceQuestion } from "./data-source.ts";

export class SourceClient {
  /** The names of the sources, as the main thread told last. */
  names: readonly string[] = [];
  private readonly port: MessagePort;
  private readonly timeout: number;
  private readonly waiting = new Map<number, (answer: SourceAnswer) => void>();
  private number = 0;

  constructor(port: MessagePort, timeoutMilliseconds: number) {
    this.port = port;
    this.timeout = timeoutMilliseconds;
    port.on("message", (message: SourceAnswer | SourceNames) => {
      if ("names" in message) this.names = message.names;
      else this.waiting.get(message.number)?.(message);
    });
  }

  /**
   * Asks; throws where the source threw, and ETIMEDOUT where the program's event loop does not get to the question in
   * time: a program that reads its own source with readFileSync would wait for itself for ever.
   */
  async ask(ask: SourceQuestion["ask"], source: string, file = "", signal?: AbortSignal): Promise<unknown> {
    const number = ++this.number;
    let timer: NodeJS.Timeout | undefined;
    try {
      const answer = await new Promise<SourceAnswer>((resolve, reject) => {
        this.waiting.set(number, resolve);
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
        timer = setTimeout(() => {
          reject(new FuseError(errno.ETIMEDOUT, `${source}/${file}: no answer from the program in ${this.timeout} ms`));
        }, this.timeout);
        this.port.postMessage({ number, ask, source, file } satisfies SourceQuestion);
      });
      if ("error" in answer) throw new Error(answer.error);
      return answer.value;
    } finally {
      clearTimeout(timer);
      this.waiting.delete(number);
    }
  }
}
