/** From the web configuration's TLS settings, in Go's words, to Node's. */
import { type DetailedPeerCertificate, getCiphers, type TLSSocket, type TlsOptions } from "node:tls";
import { ProcscopeError } from "../base/errors.ts";
import type { TlsSettings } from "./web-config.ts";

/** Options of a TLS server. Throws USAGE where a cipher suite or curve is not known here. */
export function tlsOptions(settings: TlsSettings): TlsOptions {
  const { clientAuth, cipherSuites, curves } = settings;
  return {
    cert: settings.cert,
    key: settings.key,
    ...(settings.clientCa === undefined ? {} : { ca: settings.clientCa }),
    minVersion: settings.minVersion,
    maxVersion: settings.maxVersion,
    requestCert: clientAuth !== "NoClientCert",
    rejectUnauthorized: clientAuth === "RequireAndVerifyClientCert",
    honorCipherOrder: true,
    ALPNProtocols: ["http/1.1"],
    ...(cipherSuites.length > 0 ? { ciphers: cipherSuites.map(opensslCipher).join(":") } : {}),
    ...(curves.length > 0 ? { ecdhCurve: curves.map(opensslCurve).join(":") } : {}),
  };
}

/** Why a connection must be ended after its handshake, or undefined where the client may go on. */
export function clientProblem(socket: TLSSocket, settings: TlsSettings): string | undefined {
  const { clientAuth, allowedSans } = settings;
  if (clientAuth === "NoClientCert") return undefined;
  const certificate = socket.getPeerCertificate() as DetailedPeerCertificate | Record<string, never>;
  const given = Object.keys(certificate).length > 0;
  if (!given) {
    const optional = clientAuth === "RequestClientCert" || clientAuth === "VerifyClientCertIfGiven";
    return optional && allowedSans === undefined ? undefined : "no client certificate";
  }
  if (clientAuth === "VerifyClientCertIfGiven" && !socket.authorized) return "the client certificate is not trusted";
  if (allowedSans === undefined) return undefined;
  const names = alternativeNames(String(certificate["subjectaltname"] ?? ""));
  return names.some((name) => allowedSans.includes(name)) ? undefined : "no allowed name in the client certificate";
}

/** Values of a subject alternative name text: `DNS:a, IP Address:::1, URI:"quoted, if it has commas"`. */
function alternativeNames(text: string): string[] {
  const names: string[] = [];
  for (const match of text.matchAll(/(?:^|, )(?:DNS|IP Address|URI|email):(?:"((?:[^"\\]|\\.)*)"|([^,]*))/g)) {
    names.push(match[1] === undefined ? match[2]! : (JSON.parse(`"${match[1]}"`) as string));
  }
  return names;
}

/** Go's "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" is OpenSSL's "ECDHE-RSA-AES128-GCM-SHA256". */
export function opensslCipher(name: string): string {
  // Suites of TLS 1.3 have the same name in both.
  const cipher = /^TLS_(AES|CHACHA20)_/.test(name)
    ? name
    : name
        .replace(/^TLS_/, "")
        .replace(/^RSA_WITH_/, "")
        .replace("_WITH_", "_")
        .replace(/AES_(128|256)/, "AES$1")
        .replace("3DES_EDE_CBC", "DES_CBC3")
        .replace(/(AES\d+)_CBC/, "$1")
        .replace(/CHACHA20_POLY1305(_SHA256)?/, "CHACHA20_POLY1305")
        .replaceAll("_", "-");
  if (getCiphers().includes(cipher.toLowerCase())) return cipher;
  throw new ProcscopeError("USAGE", `error in web config file: unknown cipher suite ${name}`);
}

const curveNames: Record<string, string> = {
  CurveP256: "P-256",
  CurveP384: "P-384",
  CurveP521: "P-521",
  X25519: "X25519",
};

function opensslCurve(name: string): string {
  const curve = curveNames[name];
  if (curve) return curve;
  throw new ProcscopeError("USAGE", `error in web config file: unknown curve ${name}`, {
    hint: `known are ${Object.keys(curveNames).join(", ")}`,
  });
}
