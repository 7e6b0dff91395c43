/** The web configuration file of Prometheus's exporters (-web.config.file): TLS, headers, users, rate limit. */
import { readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parseDuration } from "../base/duration.ts";
import { errnoOf, ProcscopeError } from "../base/errors.ts";

export interface TlsSettings {
  /** PEM texts. */
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | undefined;
  readonly clientAuth: ClientAuth;
  /** Subject alternative names of which a client's certificate must have one; undefined for any. */
  readonly allowedSans: readonly string[] | undefined;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** Names as Go has them. */
  readonly cipherSuites: readonly string[];
  readonly curves: readonly string[];
}

export interface WebConfig {
  readonly tls: TlsSettings | undefined;
  readonly headers: Readonly<Record<string, string>>;
  /** bcrypt hashes by user name; empty: no password asked. */
  readonly users: ReadonlyMap<string, string>;
  readonly rateLimit: { readonly interval: number; readonly burst: number } | undefined;
}

const clientAuthTypes = [
  "NoClientCert",
  "RequestClientCert",
  "RequireAnyClientCert",
  "RequireClientCert",
  "VerifyClientCertIfGiven",
  "RequireAndVerifyClientCert",
] as const;
export type ClientAuth = (typeof clientAuthTypes)[number];

const versions = { TLS10: "TLSv1", TLS11: "TLSv1.1", TLS12: "TLSv1.2", TLS13: "TLSv1.3" } as const;
export type TlsVersion = (typeof versions)[keyof typeof versions];

const tlsKeys = [
  "cert",
  "key",
  "client_ca",
  "cert_file",
  "key_file",
  "client_auth_type",
  "client_ca_file",
  "client_allowed_sans",
  "min_version",
  "max_version",
  "cipher_suites",
  "prefer_server_cipher_suites",
  "curve_preferences",
];
const headerNames = [
  "Content-Security-Policy",
  "X-Frame-Options",
  "X-Content-Type-Options",
  "X-XSS-Protection",
  "Strict-Transport-Security",
];

export const openWebConfig: WebConfig = { tls: undefined, headers: {}, users: new Map(), rateLimit: undefined };

/** Reads a web configuration and the files it names. Throws USAGE or UNREADABLE. */
export async function readWebConfig(path: string): Promise<WebConfig> {
  const { parse } = await import("yaml");
  const text = readNamed(path, "web config file");
  let root: unknown;
  try {
    root = parse(text, { schema: "failsafe", merge: true, maxAliasCount: 1000 });
  } catch (cause) {
    throw wrong(`not YAML: ${cause instanceof Error ? cause.message : cause}`);
  }
  const top = section(root, ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"], "the file");
  return {
    tls: parseTls(top["tls_server_config"], dirname(path)),
    headers: parseHeaders(top["http_server_config"]),
    users: parseUsers(top["basic_auth_users"]),
    rateLimit: parseRateLimit(top["rate_limit"]),
  };
}

/** A text that differs when one of the files was changed or replaced. */
export function filesStamp(files: readonly string[]): string {
  return files
    .map((file) => {
      const stats = statSync(file, { throwIfNoEntry: false });
      return stats ? `${stats.mtimeMs}:${stats.size}:${stats.ino}` : "-";
    })
    .join(" ");
}

/** The web configuration file and the files that it names. */
export async function webConfigFiles(path: string): Promise<string[]> {
  const { parse } = await import("yaml");
  const root = parse(readNamed(path, "web config file"), { schema: "failsafe" }) as Record<string, unknown> | null;
  const tls = (root?.["tls_server_config"] ?? {}) as Record<string, unknown>;
  const files: string[] = [path];
  for (const key of ["cert_file", "key_file", "client_ca_file"]) {
    const file = tls[key];
    if (typeof file === "string" && file !== "") files.push(resolve(dirname(path), file));
  }
  return files;
}

function parseTls(value: unknown, directory: string): TlsSettings | undefined {
  const tls = section(value, tlsKeys, "tls_server_config");
  const text = (key: string): string => scalar(tls[key], `tls_server_config.${key}`);
  const isEnabled = ["cert", "key", "cert_file", "key_file", "client_ca", "client_ca_file", "client_auth_type"].some(
    (key) => text(key) !== "",
  );
  if (!isEnabled) return undefined;
  const pem = (inline: string, file: string): string | undefined => {
    if (text(file) !== "") return readNamed(resolve(directory, text(file)), file);
    return text(inline) === "" ? undefined : text(inline);
  };
  const cert = pem("cert", "cert_file");
  const key = pem("key", "key_file");
  if (cert === undefined) throw wrong("missing one of cert or cert_file");
  if (key === undefined) throw wrong("missing one of key or key_file");
  const clientCa = pem("client_ca", "client_ca_file");
  const clientAuth = (text("client_auth_type") || "NoClientCert") as ClientAuth;
  if (!clientAuthTypes.includes(clientAuth)) throw wrong(`invalid client_auth_type: ${clientAuth}`);
  if (clientCa !== undefined && clientAuth === "NoClientCert") {
    throw wrong("a client CA is configured without a client_auth_type");
  }
  const sans = tls["client_allowed_sans"];
  return {
    cert,
    key,
    clientCa,
    clientAuth,
    allowedSans: sans === undefined || sans === "" ? undefined : textList(sans, "client_allowed_sans"),
    minVersion: version(text("min_version") || "TLS12"),
    maxVersion: version(text("max_version") || "TLS13"),
    cipherSuites: textList(tls["cipher_suites"], "cipher_suites"),
    curves: textList(tls["curve_preferences"], "curve_preferences"),
  };
}

function version(name: string): TlsVersion {
  const found = versions[name as keyof typeof versions];
  if (!found) throw wrong(`unknown TLS version: ${name}`);
  return found;
}

function parseHeaders(value: unknown): Record<string, string> {
  const http = section(value, ["http2", "headers"], "http_server_config");
  const headers = section(http["headers"], headerNames, "http_server_config.headers");
  const result: Record<string, string> = {};
  for (const name of Object.keys(headers)) {
    const header = scalar(headers[name], name);
    if (header === "") continue;
    if (name === "X-Frame-Options" && !/^(deny|sameorigin)$/i.test(header)) throw wrong(`invalid ${name}: ${header}`);
    if (name === "X-Content-Type-Options" && !/^nosniff$/i.test(header)) throw wrong(`invalid ${name}: ${header}`);
    if (/[\r\n\0]/.test(header)) throw wrong(`invalid ${name}`);
    result[name] = header;
  }
  return result;
}

function parseUsers(value: unknown): Map<string, string> {
  const users = new Map<string, string>();
  if (value === undefined || value === "") return users;
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrong("basic_auth_users is not a mapping");
  for (const [user, hash] of Object.entries(value)) {
    if (typeof hash !== "string" || !/^\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}$/.test(hash)) {
      throw wrong(`the password of user ${JSON.stringify(user)} is not a bcrypt hash`);
    }
    users.set(user, hash);
  }
  return users;
}

function parseRateLimit(value: unknown): WebConfig["rateLimit"] {
  const limit = section(value, ["interval", "burst"], "rate_limit");
  const interval = parseDuration(scalar(limit["interval"], "rate_limit.interval") || "0");
  if (interval === 0) return undefined;
  return { interval, burst: Number(scalar(limit["burst"], "rate_limit.burst") || "0") };
}

function section(value: unknown, keys: readonly string[], name: string): Record<string, unknown> {
  if (value === undefined || value === null || value === "") return {};
  if (typeof value !== "object" || Array.isArray(value)) throw wrong(`${name} is not a mapping`);
  const unknown = Object.keys(value).find((key) => !keys.includes(key));
  if (unknown !== undefined) throw wrong(`unknown key in ${name}: ${unknown}`);
  return value as Record<string, unknown>;
}

function scalar(value: unknown, name: string): string {
  if (value === undefined || value === null) return "";
  if (typeof value !== "string") throw wrong(`${name} is not a text`);
  return value;
}

function textList(value: unknown, name: string): string[] {
  if (value === undefined || value === null || value === "") return [];
  if (!Array.isArray(value) || !value.every((word) => typeof word === "string")) throw wrong(`${name} is not a list`);
  return value;
}

function readNamed(path: string, what: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new ProcscopeError("UNREADABLE", `cannot read ${what} ${path}: ${errnoOf(cause) ?? cause}`, { cause });
  }
}

function wrong(message: string): ProcscopeError {
  return new ProcscopeError("USAGE", `error in web config file: ${message}`);
}
