/** Parts of the product by themselves. */
import assert from "node:assert/strict";
import { homedir } from "node:os";
import { test } from "node:test";
import { MessageChannel } from "node:worker_threads";
import { answerQuestion, type DataSource, isFileName, type SourceQuestion } from "../../src/goinfo/data-source.ts";
import { identityOf, pidOf } from "../../src/goinfo/go-processes.ts";
import { placeOf } from "../../src/goinfo/index.ts";
import { jsonLine, memoryFiles, memoryLine } from "../../src/goinfo/memory-lines.ts";
import { SourceClient } from "../../src/goinfo/source-client.ts";
import { SourceFolders } from "../../src/goinfo/source-folders.ts";
import type { FuseFolder } from "../../src/kernel/fuse-tree.ts";
import { RateLimitedLog } from "../../src/kernel/log-limit.ts";

test("lines are goinfo's: decimals, booleans, one space, one newline", () => {
  const genmem = memoryFiles.find(({ name }) => name === "genmem")!;
  const figures = { Alloc: 817232, TotalAlloc: 861568n, Sys: 2n ** 60n, Lookups: 0, Mallocs: 541, Frees: undefined };
  assert.equal(memoryLine(genmem.fields, figures), "817232 861568 1152921504606846976 0 541 -\n");
  assert.equal(memoryLine(["EnableGC", "DebugGC"], { EnableGC: true, DebugGC: false }), "true false\n");
});

test("JSON keeps large integers exact and names what is missing", () => {
  assert.equal(jsonLine({ a: 2n ** 60n, b: undefined, c: 1 }), '{"a":"1152921504606846976","b":null,"c":1}\n');
});

test("~ is the home folder, other paths are taken as they are", () => {
  assert.equal(placeOf("~"), homedir());
  assert.equal(placeOf("~/a/b"), `${homedir()}/a/b`);
  assert.equal(placeOf("/x/../y"), "/y");
  assert.equal(placeOf("~other"), `${process.cwd()}/~other`);
});

test("names that cannot be one component of a path are none", () => {
  for (const name of ["", ".", "..", "a/b", "a\0b", "x".repeat(256), 5, undefined])
    assert.equal(isFileName(name), false);
  for (const name of ["a", "...", "ü", "x".repeat(255)]) assert.equal(isFileName(name), true);
});

test("a process's number holds its pid, and differs when the pid is given anew", () => {
  const first = identityOf(4_194_303, 123_456_789);
  assert.equal(pidOf(first), 4_194_303);
  assert.notEqual(first, identityOf(4_194_303, 123_456_790));
  assert.ok(Number.isSafeInteger(first * 256 + 255));
});

test("a hostile reader cannot flood the log", () => {
  const lines: string[] = [];
  const log = new RateLimitedLog((line) => lines.push(line), 3);
  for (let i = 0; i < 1000; i++) log.write(`line ${i}`);
  assert.ok(lines.length <= 8, `${lines.length} lines`);
});

test("nodes of sources live while the kernel knows them, and no longer", async (t) => {
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  const source: DataSource = { name: "mine", listing: () => ["a", "b"], contents: (file) => file };
  port1.on("message", async (question: SourceQuestion) => {
    port1.postMessage(await answerQuestion(new Map([["mine", source]]), question));
  });
  const client = new SourceClient(port2, 1000);
  client.names = ["mine"];
  const folders = new SourceFolders(client, { uid: 0, gid: 0, fileMode: 0o400, folderMode: 0o500 });
  const folder = folders.lookup("mine") as FuseFolder;
  assert.equal(folder.kind, "folder");
  folders.retain(folder);
  // Listing alone makes nothing that stays.
  for (let i = 0; i < 100; i++) await folder.list();
  assert.equal(folders.size, 1);
  const file = (await folder.lookup("a"))!;
  folders.retain(file);
  folders.retain((await folder.lookup("a"))!);
  assert.equal(folders.size, 2);
  assert.equal((await folder.lookup("a"))!.id, file.id);
  folders.release(file.id, 1);
  assert.equal(folders.node(file.id)?.id, file.id);
  folders.release(file.id, 1);
  assert.equal(folders.node(file.id), undefined);
  folders.release(folder.id, 1);
  assert.equal(folders.size, 0);
  assert.equal(await folder.lookup("nope"), undefined);
});
