/**
 * Sends profiles to a server that takes them as Pyroscope does: POST /ingest, the profile and what its sample types mean
 * as multipart form data (without a format: with format=pprof the server takes the whole body for the profile). Failed pushes are kept and tried again, up to a bound; what falls out is
 * counted, never lost in silence.
 */
import { ProcscopeError } from "../base/errors.ts";
import { escapeTerminal } from "../base/escape.ts";

export interface PushOptions {
  /** The server's address; a path other than / is taken as the endpoint itself. Only http and https. */
  readonly url: string;
  /** The application's name as the server shows it; what such a name may not have becomes "_". */
  readonly application: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Profiles kept for another try while the server does not answer. Default 10. */
  readonly mostQueued?: number;
  /** Milliseconds for one request. Default 10,000. */
  readonly timeout?: number;
}

export interface PushCounts {
  readonly sent: number;
  /** Waiting for another try. */
  readonly queued: number;
  /** Given up: refused by the server, or pushed out of a full queue. */
  readonly dropped: number;
  readonly lastError: string | undefined;
}

interface Waiting {
  readonly body: Uint8Array;
  readonly from: number;
  readonly until: number;
}

/** Characters of a refusal that are told. */
const mostOfAnswer = 300;

/** What the server makes of each sample type: units and how values add up. */
const sampleTypeConfig = {
  samples: { units: "samples", aggregation: "sum", "display-name": "samples", sampled: true },
  cpu: { units: "nanoseconds", aggregation: "sum", "display-name": "cpu", sampled: true },
  wall: { units: "nanoseconds", aggregation: "sum", "display-name": "wall", sampled: true },
};

export class ProfilePusher {
  readonly #endpoint: URL;
  readonly #options: PushOptions;
  readonly #queue: Waiting[] = [];
  #sent = 0;
  #dropped = 0;
  #lastError: string | undefined;

  /** Throws USAGE for what is not an http address. */
  constructor(options: PushOptions) {
    this.#options = options;
    this.#endpoint = endpointOf(options.url);
  }

  get counts(): PushCounts {
    return { sent: this.#sent, queued: this.#queue.length, dropped: this.#dropped, lastError: this.#lastError };
  }

  /** Sends a gzipped profile.proto of a span of time (seconds since 1970), after those that wait. Never throws. */
  async push(body: Uint8Array, from: number, until: number): Promise<PushCounts> {
    this.#queue.push({ body, from, until });
    while (this.#queue.length > (this.#options.mostQueued ?? 10)) {
      this.#queue.shift();
      this.#dropped++;
    }
    while (this.#queue.length > 0) {
      const outcome = await this.#send(this.#queue[0]!);
      if (outcome === "again") break;
      this.#queue.shift();
      if (outcome === "sent") this.#sent++;
      else this.#dropped++;
    }
    return this.counts;
  }

  async #send(profile: Waiting): Promise<"sent" | "refused" | "again"> {
    const { application, labels, timeout } = this.#options;
    const url = new URL(this.#endpoint);
    url.searchParams.set(
      "name",
      `${application.replace(/[^\w./-]/g, "_")}{${Object.entries(labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(",")}}`,
    );
    url.searchParams.set("from", String(Math.floor(profile.from)));
    url.searchParams.set("until", String(Math.ceil(profile.until)));
    url.searchParams.set("spyName", "procscope");
    const form = new FormData();
    form.set("profile", new Blob([profile.body as Uint8Array<ArrayBuffer>]), "profile.pprof");
    form.set("sample_type_config", new Blob([JSON.stringify(sampleTypeConfig)]), "config.json");
    try {
      const response = await fetch(url, { method: "POST", body: form, signal: AbortSignal.timeout(timeout ?? 10_000) });
      const answer = await response.text();
      if (response.ok) return "sent";
      this.#lastError = `the server answered ${response.status}: ${escapeTerminal(answer.trim().slice(0, mostOfAnswer))}`;
      // What is wrong with the request stays wrong; what is wrong with the server may pass.
      return response.status >= 500 || response.status === 429 ? "again" : "refused";
    } catch (error) {
      const cause = error instanceof Error ? (error.cause ?? error) : error;
      this.#lastError = cause instanceof Error ? cause.message : String(cause);
      return "again";
    }
  }
}

function endpointOf(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new ProcscopeError("USAGE", `not an address: ${text}`, { hint: "--push http://127.0.0.1:4040", cause });
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new ProcscopeError("USAGE", `--push takes an http or https address, not ${url.protocol}`);
  }
  if (url.pathname === "/") url.pathname = "/ingest";
  return url;
}
