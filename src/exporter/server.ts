/** The HTTP side of the exporter: metrics, health, landing page; bounded against clients that are slow, many or rude. */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import { escapeHtml } from "../base/escape.ts";
import { contentType, type ExpositionFormat, negotiateFormat } from "./exposition.ts";
import { WebAccess } from "./web-access.ts";
import { clientProblem, tlsOptions } from "./web-tls.ts";

/** Connections at once; more are closed at once. */
const mostConnections = 512;
/** Milliseconds for a request to arrive whole. */
const requestTimeout = 10_000;
/** Milliseconds without a byte moving, after which a connection is ended: a reader that stopped holds memory. */
const idleTimeout = 60_000;
/** Milliseconds that connections are given to finish at a stop. */
const stopTimeout = 5_000;

export interface ServerSettings {
  /** As given to -web.listen-address: "127.0.0.1:9256", ":9256" for all interfaces. */
  readonly listenAddress: string;
  readonly metricsPath: string;
  readonly webConfigFile: string | undefined;
  /** The body of a scrape. */
  readonly collect: (format: ExpositionFormat, encoding: "identity" | "gzip") => Promise<Buffer>;
  readonly isReady: () => boolean;
  readonly log: (message: string) => void;
}

export interface RunningServer {
  /** Where it listens: "http://127.0.0.1:9256". */
  readonly url: string;
  /** Stops listening, lets what is under way finish for up to 5 s. */
  stop(): Promise<void>;
}

/** Starts serving. Throws USAGE for a bad address or web config, IO where the address cannot be bound. */
export async function startServer(settings: ServerSettings): Promise<RunningServer> {
  const { host, port } = parseListenAddress(settings.listenAddress);
  const access = new WebAccess(settings.webConfigFile, settings.log);
  await access.load();
  const handler = new Handler(settings, access);
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    handler.answer(request, response).catch((error: unknown) => {
      settings.log(`answering ${request.socket.remoteAddress}: ${error instanceof Error ? error.message : error}`);
      response.destroy();
    });
  };
  const limits: ServerOptions = {
    requestTimeout,
    headersTimeout: requestTimeout,
    keepAliveTimeout: 65_000,
    connectionsCheckingInterval: 2_000,
  };
  const { tls } = access.config;
  const server = tls
    ? secured(createHttpsServer({ ...limits, ...tlsOptions(tls), handshakeTimeout: requestTimeout }, listener), access)
    : createHttpServer(limits, listener);
  server.maxConnections = mostConnections;
  server.setTimeout(idleTimeout, (socket) => socket.destroy());
  // What is not HTTP is told so in one line; a line that is too long ends here too, unread.
  server.on("clientError", (error, socket) => {
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    const status = errnoOf(error) === "HPE_HEADER_OVERFLOW" ? "431 Request Header Fields Too Large" : "400 Bad Request";
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`);
    setTimeout(() => socket.destroy(), 1_000).unref();
  });
  await listen(server, host, port, settings.listenAddress);
  const { port: bound } = server.address() as AddressInfo;
  const shownHost = host === undefined ? "[::]" : host.includes(":") ? `[${host}]` : host;
  return { url: `${tls ? "https" : "http"}://${shownHost}:${bound}`, stop: () => stop(server) };
}

/** Go's listen addresses: "host:port", "[v6]:port", ":port" for all interfaces. Throws USAGE. */
export function parseListenAddress(text: string): { host: string | undefined; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65535) {
    throw new ProcscopeError("USAGE", `not a listen address: ${text}`, {
      hint: "write host:port, or :9256 for all interfaces; vsock is not supported",
    });
  }
  return { host: match[1] ?? (match[2] || undefined), port };
}

/** Applies client certificates' rules and reloads certificates for new connections. */
function secured(server: HttpsServer, access: WebAccess): HttpsServer {
  server.on("connection", () => {
    access.reload().then((changed) => {
      if (changed && access.config.tls) server.setSecureContext(tlsOptions(access.config.tls));
    });
  });
  server.prependListener("secureConnection", (socket: TLSSocket) => {
    const { tls } = access.config;
    if (!tls || clientProblem(socket, tls) !== undefined) socket.destroy();
  });
  return server;
}

async function listen(
  server: Server | HttpsServer,
  host: string | undefined,
  port: number,
  text: string,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => {
      const inUse = errnoOf(cause) === "EADDRINUSE";
      reject(
        new ProcscopeError("IO", `cannot listen on ${text}: ${errnoOf(cause) ?? cause}`, {
          hint: inUse ? "another program listens there; choose another with --web.listen-address" : undefined,
          cause,
        }),
      );
    });
    server.listen(port, host, () => resolve());
  });
  server.on("error", () => {});
}

async function stop(server: Server | HttpsServer): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), stopTimeout);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}

class Handler {
  private readonly settings: ServerSettings;
  private readonly access: WebAccess;

  constructor(settings: ServerSettings, access: WebAccess) {
    this.settings = settings;
    this.access = access;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A body is no use to any of these pages: it is neither read nor waited for.
    request.resume();
    await this.access.reload();
    const { status, headers } = await this.access.check(request);
    for (const name in headers) response.setHeader(name, headers[name]!);
    if (status !== 200) return respond(request, response, status, "text/plain; charset=utf-8", statusTexts[status]);
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("Allow", "GET, HEAD");
      return respond(request, response, 405, "text/plain; charset=utf-8", "Method Not Allowed\n");
    }
    const path = (request.url ?? "/").split("?")[0]!;
    if (path === this.settings.metricsPath) return await this.metrics(request, response);
    if (path === "/-/healthy") return respond(request, response, 200, "text/plain; charset=utf-8", "Healthy\n");
    if (path === "/-/ready") return this.ready(request, response);
    if (path === "/") return respond(request, response, 200, "text/html; charset=utf-8", this.landingPage());
    respond(request, response, 404, "text/plain; charset=utf-8", "Not Found\n");
  }

  private async metrics(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const format = negotiateFormat(request.headers.accept);
    const encoding = acceptsGzip(request.headers["accept-encoding"]) ? "gzip" : "identity";
    const body = await this.settings.collect(format, encoding);
    // Gone while it was made: nothing to write to.
    if (response.destroyed) return;
    response.setHeader("Vary", "Accept, Accept-Encoding");
    if (encoding === "gzip") response.setHeader("Content-Encoding", "gzip");
    respond(request, response, 200, contentType[format], body);
  }

  private ready(request: IncomingMessage, response: ServerResponse): void {
    const ready = this.settings.isReady();
    respond(request, response, ready ? 200 : 503, "text/plain; charset=utf-8", ready ? "Ready\n" : "Not ready\n");
  }

  private landingPage(): string {
    const path = escapeHtml(this.settings.metricsPath);
    return `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>procscope exporter</title></head>
<body><h1>procscope exporter</h1>
<p>Processes of this machine in groups, for Prometheus.</p>
<ul><li><a href="${path}">Metrics</a></li><li><a href="/-/healthy">Healthy</a></li><li><a href="/-/ready">Ready</a></li></ul>
</body></html>
`;
  }
}

const statusTexts = { 401: "Unauthorized\n", 429: "Too Many Requests\n", 503: "Service Unavailable\n" } as const;

function respond(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  type: string,
  body: string | Buffer,
): void {
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  response.statusCode = status;
  response.setHeader("Content-Type", type);
  response.setHeader("Content-Length", bytes.length);
  response.end(request.method === "HEAD" ? undefined : bytes);
}

/** Whether an Accept-Encoding header allows gzip. */
export function acceptsGzip(header: string | string[] | undefined): boolean {
  for (const part of String(header ?? "").split(",")) {
    const [name, ...parameters] = part.split(";").map((word) => word.trim().toLowerCase());
    if (name !== "gzip" && name !== "*") continue;
    const quality = parameters.find((word) => word.startsWith("q="));
    return quality === undefined || Number(quality.slice(2)) > 0;
  }
  return false;
}
