/** The web configuration in force: reloaded when its file changed, asked at every request. */
import type { IncomingMessage } from "node:http";
import { performance } from "node:perf_hooks";
import { BasicAuth } from "./basic-auth.ts";
import { filesStamp, openWebConfig, readWebConfig, type WebConfig, webConfigFiles } from "./web-config.ts";

export interface Access {
  /** 200 where the request may be answered. */
  readonly status: 200 | 401 | 429 | 503;
  readonly headers: Readonly<Record<string, string>>;
}

export class WebAccess {
  config: WebConfig = openWebConfig;
  private readonly path: string | undefined;
  private readonly log: (message: string) => void;
  private readonly auth = new BasicAuth();
  private files: readonly string[] = [];
  private stamp = "";
  private tokens = 0;
  private refilledAt = performance.now();

  /** Without a path, everything is open. */
  constructor(path: string | undefined, log: (message: string) => void) {
    this.path = path;
    this.log = log;
  }

  /** Reads the file. Throws USAGE or UNREADABLE. */
  async load(): Promise<void> {
    if (this.path === undefined) return;
    const files = await webConfigFiles(this.path);
    const stamp = filesStamp(files);
    this.config = await readWebConfig(this.path);
    this.files = files;
    this.stamp = stamp;
    this.tokens = this.config.rateLimit?.burst ?? 0;
  }

  /**
   * Reads the file again where it, or a certificate that it names, changed. True where it did. One that has become wrong
   * is logged and the one before stays in force.
   */
  async reload(): Promise<boolean> {
    if (this.path === undefined || filesStamp(this.files) === this.stamp) return false;
    try {
      await this.load();
      return true;
    } catch (error) {
      this.stamp = filesStamp(this.files);
      this.log(`web config not reloaded: ${error instanceof Error ? error.message : error}`);
      return false;
    }
  }

  /** Whether a request may be answered, and the headers that every answer has. */
  async check(request: IncomingMessage): Promise<Access> {
    const { users, headers, rateLimit } = this.config;
    if (rateLimit && !this.takeToken(rateLimit.interval, rateLimit.burst)) return { status: 429, headers };
    if (users.size === 0) return { status: 200, headers };
    const result = await this.auth.check(request.headers.authorization, users);
    if (result === "ok") return { status: 200, headers };
    if (result === "busy") return { status: 503, headers };
    return { status: 401, headers: { ...headers, "WWW-Authenticate": 'Basic realm="procscope exporter"' } };
  }

  private takeToken(interval: number, burst: number): boolean {
    const now = performance.now();
    this.tokens = Math.min(burst, this.tokens + (now - this.refilledAt) / 1000 / interval);
    this.refilledAt = now;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}
