/** The exporter over HTTP: pages, formats, TLS, users, and clients that misbehave. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { connect as tlsConnect } from "node:tls";
import { gunzipSync } from "node:zlib";
import bcrypt from "bcryptjs";
import { atRest } from "../support/at-rest.ts";
import { byName, Folder, type RunningProgram, samplesOf, scrape, startExporter, typesOf } from "./running.ts";

describe("the exporter's pages", () => {
  const folder = new Folder();
  let exporter: RunningProgram;
  before(async () => {
    exporter = await startExporter("-config.path", folder.file("g.yml", byName), "--reuse=0.01");
  });
  after(async () => {
    await exporter[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  it("serves metrics, landing page, health, readiness; 404 and 405 for the rest", async () => {
    const status = async (path: string, method = "GET"): Promise<number> =>
      (await fetch(exporter.url + path, { method })).status;
    assert.equal(await status("/metrics"), 200);
    assert.equal(await status("/metrics?x=1", "HEAD"), 200);
    assert.match(await (await fetch(`${exporter.url}/`)).text(), /href="\/metrics"/);
    assert.deepEqual([await status("/-/healthy"), await status("/-/ready"), await status("/nothing")], [200, 200, 404]);
    assert.equal(await status("/metrics", "POST"), 405);
  });

  it("exports this very process rightly", async () => {
    const samples = samplesOf(await scrape(exporter.url));
    const node = (name: string, labels = ""): number | undefined =>
      samples.get(`namedprocess_namegroup_${name}{groupname="node"${labels}}`);
    assert.ok(node("num_procs")! >= 2);
    assert.ok(node("memory_bytes", ',memtype="resident"')! > process.memoryUsage().rss / 2);
    assert.ok(node("open_filedesc")! > 20);
    assert.ok(node("num_threads")! >= 14);
    assert.ok(Math.abs(node("oldest_start_time_seconds")! - Date.now() / 1000) < 86_400);
    assert.equal(samples.get("namedprocess_scrape_errors"), 0);
  });

  it("speaks OpenMetrics and gzip where asked, with the same samples", async () => {
    const names = (of: string): string[] =>
      [...new Set([...samplesOf(of).keys()].map((key) => key.split("{")[0]!))].sort();
    // The first exit of a process, or the end of the only Go program, may come between two scrapes.
    const { own: plain, seen: openMetrics } = await atRest(
      async () => names(await scrape(exporter.url)),
      async () => {
        const answer = await fetch(`${exporter.url}/metrics`, {
          headers: { accept: "application/openmetrics-text;version=1.0.0,text/plain;q=0.5" },
        });
        assert.equal(answer.headers.get("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
        const text = await answer.text();
        assert.ok(text.endsWith("# EOF\n"));
        return names(text);
      },
    );
    assert.deepEqual(openMetrics, plain);
    const raw = execFileSync("curl", ["-s", "-H", "Accept-Encoding: gzip", `${exporter.url}/metrics`], {
      maxBuffer: 1e8,
    });
    assert.ok(gunzipSync(raw).toString().includes("namedprocess_namegroup_num_procs"));
  });

  it("goes on with 50 scrapers, slow readers, aborted requests, a 10 MB request line and rubbish", async () => {
    const raw = (bytes: Buffer | string, linger: number): Promise<string> =>
      new Promise((resolve) => {
        const socket = connect(exporter.port, "127.0.0.1");
        let answer = "";
        socket.on("data", (data) => {
          answer += data.toString("latin1").slice(0, 200);
        });
        socket.on("error", () => {});
        const late = setTimeout(() => socket.destroy(), linger);
        socket.on("close", () => {
          clearTimeout(late);
          resolve(answer);
        });
        socket.write(bytes);
      });
    const slow = Array.from({ length: 10 }, () => {
      const socket = connect(exporter.port, "127.0.0.1");
      socket.on("error", () => {});
      socket.write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
      socket.pause();
      return socket;
    });
    const half = Array.from({ length: 10 }, () => {
      const socket = connect(exporter.port, "127.0.0.1");
      socket.on("error", () => {});
      socket.write("GET /metr");
      return socket;
    });
    const aborted = Array.from({ length: 20 }, () => raw("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 1));
    const long = raw(Buffer.concat([Buffer.from("GET /"), Buffer.alloc(10 << 20, 97)]), 30_000);
    const rubbish = raw(Buffer.from([0x16, 3, 1, 0, 200, 1, 0, 0, 0, 0]), 30_000);
    const scrapes = Array.from({ length: 50 }, () => scrape(exporter.url));
    for (const text of await Promise.all(scrapes)) {
      assert.ok(samplesOf(text).get('namedprocess_namegroup_num_procs{groupname="node"}')! >= 2);
    }
    await Promise.all(aborted);
    const answer = await long;
    assert.ok(answer === "" || answer.startsWith("HTTP/1.1 431"), answer);
    assert.match(await rubbish, /^HTTP\/1.1 400/);
    for (const socket of [...slow, ...half]) socket.destroy();
    const samples = samplesOf(await scrape(exporter.url));
    assert.ok(samples.get("process_resident_memory_bytes")! < 250e6);
    assert.equal(exporter.log().includes("Error"), false, exporter.log());
  });

  it("ends by SIGTERM with status 0", async () => {
    const one = await startExporter("-procnames", "node");
    await scrape(one.url);
    await one[Symbol.asyncDispose]();
    assert.equal(one.child.exitCode, 0);
    assert.match(one.log(), /only this machine can reach it: -web\.listen-address=:9256/);
  });

  it("refuses a used port with a hint", async () => {
    await assert.rejects(
      startExporter("-procnames", "node", `-web.listen-address=127.0.0.1:${exporter.port}`),
      /cannot listen[\s\S]*--web.listen-address/,
    );
  });
});

/** A certificate authority with a server's and a client's certificate. */
function makeCertificates(folder: Folder): void {
  const openssl = (...words: string[]): void => {
    execFileSync("openssl", words, { cwd: folder.path, stdio: "pipe" });
  };
  openssl(
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
    "-days",
    "30",
    "-subj",
    "/CN=test-ca",
  );
  for (const [name, san] of [
    ["server", "DNS:localhost,IP:127.0.0.1"],
    ["client", "DNS:scraper,email:ops@example.com"],
  ] as const) {
    openssl(
      "req",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-keyout",
      `${name}.key`,
      "-out",
      `${name}.csr`,
      "-subj",
      `/CN=${name}`,
    );
    const extensions = folder.file(`${name}.ext`, `subjectAltName=${san}\n`);
    openssl(
      "x509",
      "-req",
      "-in",
      `${name}.csr`,
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-CAcreateserial",
      "-days",
      "30",
      "-out",
      `${name}.pem`,
      "-extfile",
      extensions,
    );
  }
}

describe("the web configuration", () => {
  const folder = new Folder();
  const file = (name: string): Buffer => execFileSync("cat", [`${folder.path}/${name}`]);
  before(() => makeCertificates(folder));
  after(() => folder[Symbol.dispose]());

  const get = (
    port: number,
    more: { auth?: string; cert?: Buffer; key?: Buffer } = {},
  ): Promise<{ status: number; headers: Record<string, unknown> }> =>
    new Promise((resolve, reject) => {
      const request = httpsRequest(
        {
          host: "127.0.0.1",
          servername: "localhost",
          port,
          path: "/metrics",
          ca: file("ca.pem"),
          agent: false,
          ...more,
        },
        (response) => {
          response.resume();
          response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers }));
        },
      );
      request.on("error", reject);
      request.end();
    });

  it("TLS, basic auth with bcrypt, headers; reloaded when the file changes; bad and half-open clients", async () => {
    const config = (password: string): string => `
tls_server_config: {cert_file: server.pem, key_file: server.key, min_version: TLS12}
http_server_config: {headers: {X-Frame-Options: deny}}
basic_auth_users: {ops: "${bcrypt.hashSync(password, 4).replace("$2b$", "$2y$")}"}
`;
    const path = folder.file("web.yml", config("right"));
    await using exporter = await startExporter("-procnames", "node", "-web.config.file", path);
    const { port } = exporter;
    // A client that says nothing after connecting, and one that closes its half after the handshake.
    const silent = connect(port, "127.0.0.1");
    silent.on("error", () => {});
    const half = tlsConnect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => half.end());
    half.on("error", () => {});
    const right = await get(port, { auth: "ops:right" });
    assert.equal(right.status, 200);
    assert.equal(right.headers["x-frame-options"], "deny");
    const wrong = await get(port, { auth: "ops:wrong" });
    assert.equal(wrong.status, 401);
    assert.match(String(wrong.headers["www-authenticate"]), /^Basic/);
    assert.equal((await get(port)).status, 401);
    assert.equal((await get(port, { auth: "nobody:right" })).status, 401);
    const guesses = await Promise.all(Array.from({ length: 40 }, (_, i) => get(port, { auth: `ops:guess${i}` })));
    assert.ok(guesses.every(({ status }) => status === 401 || status === 503));
    folder.file("web.yml", config("changed"));
    assert.equal((await get(port, { auth: "ops:right" })).status, 401);
    assert.equal((await get(port, { auth: "ops:changed" })).status, 200);
    // A file that became wrong leaves the last right one in force.
    folder.file("web.yml", "basic_auth_users: 3");
    assert.equal((await get(port, { auth: "ops:changed" })).status, 200);
    assert.match(exporter.log(), /web config not reloaded/);
    silent.destroy();
    half.destroy();
  });

  it("client certificates: required, verified, by allowed name", async () => {
    const config = (more: string): string =>
      `tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert${more}}`;
    const client = { cert: file("client.pem"), key: file("client.key") };
    {
      const path = folder.file("m1.yml", config(", client_allowed_sans: [other, ops@example.com]"));
      await using exporter = await startExporter("-procnames", "node", "-web.config.file", path);
      assert.equal((await get(exporter.port, client)).status, 200);
      await assert.rejects(get(exporter.port));
    }
    {
      const path = folder.file("m2.yml", config(", client_allowed_sans: [other]"));
      await using exporter = await startExporter("-procnames", "node", "-web.config.file", path);
      await assert.rejects(get(exporter.port, client));
    }
  });

  it("says what is wrong in a file", async () => {
    for (const [text, message] of [
      ["tls_server_config: {cert_file: server.pem}", /missing one of key/],
      ["tls_server_config: {cert_file: none, key_file: server.key}", /cannot read cert_file/],
      ["junk: 1", /unknown key in the file: junk/],
      ["basic_auth_users: {a: plain}", /not a bcrypt hash/],
      ["tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem}", /client_auth_type/],
      ["http_server_config: {headers: {X-Other: a}}", /unknown key/],
    ] as const) {
      await assert.rejects(
        startExporter("-procnames", "node", "-web.config.file", folder.file("bad.yml", text)),
        message,
      );
    }
  });
});

describe("counters over a restart", () => {
  it("go on where they were, with what was used meanwhile", async () => {
    using folder = new Folder();
    const words = [
      "-config.path",
      folder.file("g.yml", byName),
      "--state-file",
      `${folder.path}/state.json`,
      "--exits=off",
    ];
    const cpu = async (exporter: RunningProgram): Promise<number> =>
      samplesOf(await scrape(exporter.url)).get(
        'namedprocess_namegroup_cpu_seconds_total{groupname="node",mode="user"}',
      ) ?? -1;
    const burn = (milliseconds: number): void => {
      for (const begin = process.cpuUsage(); process.cpuUsage(begin).user < 1000 * milliseconds; );
    };
    const first = await startExporter(...words);
    burn(300);
    const before = await cpu(first);
    assert.ok(before >= 0.28, `${before}`);
    await first[Symbol.asyncDispose]();
    // More than an exporter uses for its own start, which counts in the same group.
    burn(2000);
    await using second = await startExporter(...words);
    const afterwards = await cpu(second);
    assert.ok(afterwards >= before + 1.98, `${before} then ${afterwards}`);
    assert.equal(typesOf(await scrape(second.url)).get("namedprocess_namegroup_cpu_seconds_total"), "counter");
  });
});
