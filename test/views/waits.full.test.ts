import assert from "node:assert/strict";
import { test } from "node:test";
import { GoroutineReader } from "../../src/go/goroutine-reader.ts";
import { GoProcess } from "../../src/go/process.ts";
import { takeSnapshot } from "../../src/go/snapshot.ts";
import { LiveGoroutines } from "../../src/views/live-goroutines.ts";
import { hex, Resources, resourceText } from "../../src/views/resources.ts";
import { findSuspects } from "../../src/views/suspects.ts";
import { build, GoTarget, type Mode } from "../support/go-target.ts";

/** What waits where in targets/waits: by name, kind, how many wait, the state as told. */
const expected: readonly (readonly [name: string, kind: string, waiters: number, state: RegExp])[] = [
  ["unbuffered", "channel", 3, /^chan int at .*, 8 bytes each, unbuffered$/],
  ["buffered", "channel", 2, /^chan main\.record at .*, 24 bytes each, 0 of 8$/],
  ["full", "channel", 1, /^chan uint8 at .*, 1 bytes each, 2 of 2$/],
  ["forgotten", "channel", 1, /^chan int at .*, 0 of 3$/],
  ["first", "Mutex", 1, /, locked$/],
  ["second", "Mutex", 1, /, locked$/],
  ["held", "Mutex", 3, /, locked/],
  ["readers", "RWMutex", 1, /, 1 readers, a writer holds it or waits$/],
  ["writer", "RWMutex", 1, /a writer holds it or waits$/],
  ["group", "WaitGroup", 1, /, counter 3$/],
];

/** go statements that targets/waits runs. */
const startedGoroutines = 18;

const cells: readonly (readonly [version: string | undefined, mode: Mode])[] = [
  [undefined, "plain"],
  [undefined, "pie-strip"],
  ["1.25.14", "strip"],
  ["1.21.13", "strip"],
  ["1.18.10", "pie"],
  ["1.16.15", "strip"],
];

/** The two that lock in opposite order, the forgotten channel and the nil channel; nobody else. */
function checkSuspects(pid: number, source: LiveGoroutines, resources: Resources, truth: ReadonlyMap<string, string>) {
  const { suspects, complete } = findSuspects(pid, source, resources);
  assert.equal(complete, true);
  const told = suspects.map(({ row, kind }) => {
    const [address] = resources.of(row);
    const name = [...truth].find(([, at]) => address !== undefined && at === hex(address))?.[0];
    return `${kind}: ${name ?? source.reason(row)}`;
  });
  const unreachable = told.filter((one) => one.startsWith("unreachable"));
  const others = told.filter((one) => !one.startsWith("unreachable")).sort();
  assert.deepEqual(others, ["cycle: first", "cycle: second", "nothing can wake it: chan receive (nil chan)"]);
  // Garbage that still holds the channel hides it, as documented; another channel is never told.
  for (const one of unreachable) assert.equal(one, "unreachable channel: forgotten");
  forgottenFound += unreachable.length;
}

/** In how many cells the channel that nothing refers to was told. */
let forgottenFound = 0;

/** All that targets/waits starts wait, each in its way. */
function allBlocked(source: LiveGoroutines): boolean {
  let waiting = 0;
  for (let row = 0; row < source.count; row++) {
    if (source.creator(row).function === "main.startAll" && source.state(row) === "waiting") waiting++;
  }
  return waiting === startedGoroutines;
}

for (const [version, mode] of cells) {
  test(`addresses, kinds, waiters and states: ${version ?? "the newest"} ${mode}`, async () => {
    const path = await build(version, mode, "waits");
    await using target = await GoTarget.start(path);
    const truth = new Map(
      (await target.ask("addresses"))
        .toString()
        .split("\n")
        .map((line) => line.split(" ") as [string, string]),
    );
    using process = GoProcess.attach(target.pid);
    const look = () => new LiveGoroutines(takeSnapshot(new GoroutineReader(process.runtime), { stacks: true }));
    let source = look();
    // On a busy machine its goroutines may not all have come to where they block.
    for (let i = 0; i < 50 && !allBlocked(source); i++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      source = look();
    }
    const resources = Resources.read(source);
    const told = new Map(resources.all().map((resource) => [hex(resource.address), resource]));
    for (const [name, kind, waiters, state] of expected) {
      const resource = told.get(truth.get(name)!);
      assert.ok(resource, `${name} at ${truth.get(name)} is not among ${[...told.keys()]}`);
      assert.equal(resource.kind, kind, name);
      assert.equal(resource.waiters.length, waiters, name);
      assert.match(resourceText(resource), state, name);
    }
    // The runtime records condition variables since Go 1.26.
    const condition = told.get(truth.get("condition")!);
    if (process.runtime.version.minor >= 26) assert.equal(condition?.kind, "Cond");
    else assert.equal(condition, undefined);
    for (let row = 0; row < source.count; row++) {
      if (source.reason(row) === "select") assert.equal(resources.of(row).length, 2);
      if (source.reason(row) === "chan receive (nil chan)") assert.equal(resources.group(row)?.name, "a nil channel");
      if (source.reason(row) === "sleep") assert.equal(resources.group(row), undefined);
    }
    checkSuspects(target.pid, source, resources, truth);
  });
}

test("the channel that nothing refers to was told in most cells", () => {
  assert.ok(forgottenFound >= cells.length / 2, `${forgottenFound} of ${cells.length}`);
});
