/** Basic authentication against bcrypt hashes. Comparing takes tens of milliseconds by design, so answers are kept. */
import { createHmac, randomBytes } from "node:crypto";

const mostKept = 100;
/** Comparisons that may wait: more than that is somebody guessing. */
const mostWaiting = 16;
export type AuthResult = "ok" | "denied" | "busy";

export class BasicAuth {
  private readonly kept = new Map<string, boolean>();
  private readonly secret = randomBytes(32);
  private waiting = 0;
  /** Hash of nothing anybody knows: names that do not exist must take as long as those that do. */
  private noUser: string | undefined;
  /** The comparison that runs; they run one after another, so that guessing cannot take more than its share. */
  private last: Promise<unknown> = Promise.resolve();

  /** Checks an Authorization header against hashes by user. */
  async check(header: string | undefined, users: ReadonlyMap<string, string>): Promise<AuthResult> {
    const match = /^Basic +([A-Za-z0-9+/=_-]{1,4096})$/i.exec(header ?? "");
    const text = match ? Buffer.from(match[1]!, "base64").toString("utf8") : "";
    const colon = text.indexOf(":");
    if (colon < 0) return "denied";
    const user = text.slice(0, colon);
    const password = text.slice(colon + 1);
    const hash = users.get(user);
    const key = createHmac("sha256", this.secret)
      .update(JSON.stringify([user, hash ?? null, password]))
      .digest("base64");
    const known = this.kept.get(key);
    if (known !== undefined) return known ? "ok" : "denied";
    if (this.waiting >= mostWaiting) return "busy";
    this.waiting++;
    try {
      const right = (await this.compare(password, hash)) && hash !== undefined;
      this.keep(key, right);
      return right ? "ok" : "denied";
    } finally {
      this.waiting--;
    }
  }

  private async compare(password: string, hash: string | undefined): Promise<boolean> {
    const { default: bcrypt } = await import("bcryptjs");
    const turn = this.last.then(async () => {
      this.noUser ??= await bcrypt.hash(randomBytes(16).toString("hex"), 10);
      return await bcrypt.compare(password, hash ?? this.noUser);
    });
    this.last = turn.catch(() => undefined);
    return await turn;
  }

  private keep(key: string, right: boolean): void {
    if (this.kept.size >= mostKept) {
      const [oldest] = this.kept.keys();
      this.kept.delete(oldest!);
    }
    this.kept.set(key, right);
  }
}
