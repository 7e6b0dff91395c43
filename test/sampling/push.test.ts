import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { ProfilePusher } from "../../src/sampling/push.ts";

interface Received {
  readonly url: URL;
  readonly form: FormData;
}

/** A server that takes what the documented API of POST /ingest says, and answers with the statuses given. */
async function ingestServer(statuses: number[]): Promise<{ url: string; received: Received[]; close(): void }> {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const url = new URL(request.url!, "http://server");
    const form = await new Response(await bodyOf(request), {
      headers: { "content-type": request.headers["content-type"]! },
    }).formData();
    const status = statuses.shift() ?? 200;
    if (status === 200) received.push({ url, form });
    response.writeHead(status).end(status === 200 ? "" : "not\x1b[2Jnow\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received, close: () => server.close() };
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}

const profile = gzipSync(Buffer.from("not empty"));

test("a profile arrives whole, with its name, labels and span of time", async () => {
  const server = await ingestServer([]);
  try {
    const pusher = new ProfilePusher({ url: server.url, application: "a pi(1)", labels: { env: "test", pid: "7" } });
    const counts = await pusher.push(profile, 1000.4, 1010.2);
    assert.deepEqual(counts, { sent: 1, queued: 0, dropped: 0, lastError: undefined });
    const { url, form } = server.received[0]!;
    assert.equal(url.pathname, "/ingest");
    assert.equal(url.searchParams.get("name"), "a_pi_1_{env=test,pid=7}");
    assert.equal(url.searchParams.get("from"), "1000");
    assert.equal(url.searchParams.get("until"), "1011");
    // With format=pprof a real server takes the body for the profile itself.
    assert.equal(url.searchParams.get("format"), null);
    const sent = Buffer.from(await (form.get("profile") as File).arrayBuffer());
    assert.ok(sent.equals(profile));
  } finally {
    server.close();
  }
});

test("what the server cannot take now is sent later, in order, and nothing is lost uncounted", async () => {
  const server = await ingestServer([503, 503, 200, 400]);
  try {
    const pusher = new ProfilePusher({ url: server.url, application: "api", labels: {}, mostQueued: 2 });
    assert.equal((await pusher.push(profile, 1, 2)).queued, 1);
    assert.equal((await pusher.push(profile, 2, 3)).queued, 2);
    // The third pushes the first out of the queue; of the two left one is taken and one refused for good.
    const counts = await pusher.push(profile, 3, 4);
    assert.deepEqual(
      { ...counts, lastError: undefined },
      { sent: 1, queued: 0, dropped: 2, lastError: undefined },
      counts.lastError,
    );
    assert.match(counts.lastError!, /^the server answered 400: not[^\x1b]+now$/);
    assert.equal(server.received[0]!.url.searchParams.get("from"), "2");
  } finally {
    server.close();
  }
});

test("a server that is not there keeps profiles waiting; what is no address is refused", async () => {
  const pusher = new ProfilePusher({ url: "http://127.0.0.1:1", application: "api", labels: {} });
  const counts = await pusher.push(profile, 1, 2);
  assert.equal(counts.queued, 1);
  assert.match(counts.lastError ?? "", /ECONNREFUSED|bad port/);
  assert.throws(() => new ProfilePusher({ url: "file:///etc/passwd", application: "a", labels: {} }), {
    code: "USAGE",
  });
  assert.throws(() => new ProfilePusher({ url: "nowhere", application: "a", labels: {} }), { code: "USAGE" });
});
