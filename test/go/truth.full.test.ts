/**
 * The truth: in every cell of Go version and build mode, each goroutine's text is byte for byte what the process itself
 * prints, in the same order. Left out is the goroutine that asks.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { atRest } from "../support/at-rest.ts";
import { procscope } from "../support/cli.ts";
import { allModes, build, GoTarget, type Mode, startHttp } from "../support/go-target.ts";
import { currentGo, goVersions } from "../support/go-toolchain.ts";
import { compareGoroutines, type GoroutineText, splitGoroutines } from "../support/goroutine-text.ts";

const began = Date.now();
const figures = { goroutines: 0, cells: 0, dumpMilliseconds: 0 };

const cells = goVersions.flatMap((version) => allModes.map((mode) => ({ version, mode })));
const built = buildAhead();

/** Builds all cells two at a time, while the first ones are looked at already. */
function buildAhead(): ReadonlyMap<string, Promise<string>> {
  const wanted = [...cells];
  const results = new Map<string, Resolvers<string>>();
  for (const cell of wanted) results.set(keyOf(cell), withResolvers());
  const worker = async (): Promise<void> => {
    for (let cell = wanted.shift(); cell; cell = wanted.shift()) {
      const result = results.get(keyOf(cell))!;
      await build(cell.version, cell.mode).then(result.resolve, result.reject);
    }
  };
  void worker();
  void worker();
  return new Map([...results].map(([key, { promise }]) => [key, promise]));
}

function keyOf({ version, mode }: { version: string; mode: Mode }): string {
  return `go${version} ${mode}`;
}

for (const cell of cells) {
  test(`${keyOf(cell)}: every goroutine as the process prints it`, async () => {
    const path = await built.get(keyOf(cell))!;
    await using target = await GoTarget.start(path);
    await target.ask("kinds");
    await target.ask("park 20");
    await target.ask("gc");
    await assertSame(target, 100);
  });
}

/** The dump of the command line equals the process's own text. */
async function assertSame(target: GoTarget, least: number): Promise<void> {
  const { own, seen: dump } = await atRest(
    async () => others(splitGoroutines(await target.stacks())),
    () => procscope(["dump", "--pid", String(target.pid)]),
  );
  assert.equal(dump.status, 0, dump.stderr);
  const { equal, differences } = compareGoroutines(own, others(splitGoroutines(dump.stdout)));
  assert.equal(
    differences.length,
    0,
    `${equal} equal, ${differences.length} not:\n${differences.slice(0, 3).join("\n\n")}`,
  );
  assert.ok(equal >= least, `only ${equal} goroutines`);
  figures.goroutines += equal;
  figures.cells++;
  figures.dumpMilliseconds += dump.milliseconds;
}

const others = (all: readonly GoroutineText[]): GoroutineText[] => all.filter(({ id }) => id !== 1);

test("ways of blocking: at least 12 in each version", async () => {
  for (const version of goVersions) {
    await using target = await GoTarget.start(await built.get(keyOf({ version, mode: "cgo" }))!);
    await target.ask("kinds");
    const reasons = new Set(
      [...(await target.stacks()).matchAll(/^goroutine \d+ \[([^\],]+)/gm)].map((match) => match[1]),
    );
    assert.ok(reasons.size >= 12, `go${version}: ${[...reasons].join(", ")}`);
  }
});

test("a server with net/http/pprof: all goroutines but the request's as in debug=2", async () => {
  const server = await startHttp(await build(currentGo, "strip", "http"));
  try {
    const ask = async (path: string): Promise<string> =>
      (await fetch(`${server.url}${path}`, { headers: { connection: "close" } })).text();
    await ask("/park?n=50");
    await ask("/deep?n=10&depth=120");
    await ask("/gc");
    // The connections of these requests must have gone, or the two see different goroutines.
    await delay(300);
    const own = await ask("/debug/pprof/goroutine?debug=2");
    await delay(300);
    const dump = await procscope(["dump", "--pid", String(server.pid)]);
    assert.equal(dump.status, 0, dump.stderr);
    // Not the connections, nor what main started: one of these never rests.
    const steady = ({ text }: GoroutineText): boolean =>
      !/net\/http\.\(\*(conn|connReader)\)|created by main\.main /.test(text);
    const { equal, differences } = compareGoroutines(
      splitGoroutines(own).filter(steady),
      splitGoroutines(dump.stdout).filter(steady),
    );
    assert.deepEqual(differences.slice(0, 3), []);
    assert.ok(equal >= 61, `only ${equal}`);
  } finally {
    await server.end();
  }
});

// Started with the file, asked at its end: by then its goroutines have waited for more than a minute.
const patient = currentGo;
const early = built.get(keyOf({ version: patient, mode: "plain" }))!.then(async (path) => {
  const target = await GoTarget.start(path);
  await target.ask("kinds");
  await target.ask("gc");
  return { target, since: Date.now() };
});
early.catch(() => {});

test(`go${patient}: minutes of waiting`, async () => {
  const { target, since } = await early;
  try {
    await delay(Math.max(0, 61_500 - (Date.now() - since)));
    await assertSame(target, 100);
    assert.match(await target.stacks(), /chan receive, [1-9]\d* minutes/);
  } finally {
    await target.end();
  }
});

after(async () => {
  await early.then(({ target }) => target.end()).catch(() => {});
  const seconds = Math.round((Date.now() - began) / 1000);
  const each = Math.round(figures.dumpMilliseconds / Math.max(1, figures.cells));
  console.log(
    `truth: ${figures.goroutines} goroutines equal in ${figures.cells} dumps (${each} ms each), builds included ${seconds} s`,
  );
});

interface Resolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

function withResolvers<T>(): Resolvers<T> {
  let resolve: (value: T) => void = () => {};
  let reject: (reason: unknown) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // A build that fails is told by the test that wants it.
  promise.catch(() => {});
  return { promise, resolve, reject };
}
