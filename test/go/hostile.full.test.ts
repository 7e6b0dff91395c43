/**
 * A target is hostile input: 20,000 seeded mutations of a real program's file and memory, through the readers that a real
 * process is read by. Each ends with a result or a ProcscopeError, in bounded time and memory.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ProcscopeError } from "../../src/base/errors.ts";
import type { Address, Bytes } from "../../src/base/units.ts";
import { attachRuntime } from "../../src/go/attach.ts";
import { findBuildInfo } from "../../src/go/build-info.ts";
import { readChannel } from "../../src/go/channel.ts";
import { GoroutineReader } from "../../src/go/goroutine-reader.ts";
import { GoroutineTable } from "../../src/go/goroutine-table.ts";
import { LabelReader } from "../../src/go/labels.ts";
import { loadBias } from "../../src/go/load-bias.ts";
import { MemStatsReader } from "../../src/go/mem-stats.ts";
import { findModules } from "../../src/go/module-data.ts";
import { readContentionBuckets, readMemoryBuckets, readThreadStacks } from "../../src/go/profile-buckets.ts";
import { programImage } from "../../src/go/program-image.ts";
import type { GoRuntime } from "../../src/go/runtime.ts";
import { monotonicNow, takeSnapshot } from "../../src/go/snapshot.ts";
import { goThreads } from "../../src/go/threads.ts";
import { readWaits } from "../../src/go/waits.ts";
import { readProcMaps } from "../../src/kernel/proc-maps.ts";
import { BufferSource, FileSource } from "../../src/object/byte-source.ts";
import { ElfFile } from "../../src/object/elf.ts";
import { ChunkWriter } from "../../src/profile/chunk-writer.ts";
import { LiveGoroutines } from "../../src/views/live-goroutines.ts";
import { TracebackWriter } from "../../src/views/traceback.ts";
import { build, GoTarget, type Mode } from "../support/go-target.ts";
import { MemoryFixture, programFile } from "../support/memory-fixture.ts";

/** One input may take so long on a machine that is busy with other things, and read so much. */
const mostMilliseconds = 5000;
const mostGrowth: Bytes = 1 << 30;

interface Subject {
  readonly name: string;
  readonly file: Buffer;
  readonly memory: MemoryFixture;
  readonly bias: Address;
  readonly runtime: GoRuntime;
}

const subjects: Subject[] = [];

async function capture(version: string, mode: Mode): Promise<Subject> {
  await using target = await GoTarget.start(await build(version, mode));
  await target.ask("kinds");
  await target.ask("gc");
  const memory = MemoryFixture.capture(target.pid);
  const file = programFile(target.pid);
  using source = FileSource.open(`/proc/${target.pid}/exe`);
  const elf = new ElfFile(new BufferSource(file));
  const bias = loadBias(target.pid, source, elf, readProcMaps(target.pid))!;
  return { name: `go${version} ${mode}`, file, memory, bias, runtime: attachRuntime(memory, elf, bias) };
}

before(async () => {
  for (const [version, mode] of [
    ["1.26.11", "strip"],
    ["1.20.14", "pie-strip"],
    ["1.16.15", "plain"],
  ] as const)
    subjects.push(await capture(version, mode));
});

/** mulberry32. */
class Random {
  private seed: number;
  constructor(seed: number) {
    this.seed = seed;
  }
  next(): number {
    this.seed = (this.seed + 0x6d2b79f5) | 0;
    let t = Math.imul(this.seed ^ (this.seed >>> 15), 1 | this.seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }
  below(n: number): number {
    return Math.floor(this.next() * n);
  }
}

const words = [
  0n,
  1n,
  0xffn,
  0x7fffn,
  0xffffn,
  0x7fffffffn,
  0xffffffffn,
  0x100000000n,
  0x7fffffffffffn,
  0x7fffffffffffffffn,
  0xffffffffffffffffn,
];

/** Changes 1 to 4 places of a window and returns what puts them back. */
function mutate(window: Buffer, random: Random): () => void {
  const undo: (() => void)[] = [];
  for (let left = 1 + random.below(4); left > 0; left--) {
    const size = [1, 1, 2, 4, 8, 8][random.below(6)]!;
    if (window.length < size) continue;
    // Fields are aligned; sometimes it is not a field that is hit.
    const at =
      random.below(4) === 0
        ? random.below(window.length - size + 1)
        : random.below(Math.floor(window.length / size)) * size;
    const before = Buffer.from(window.subarray(at, at + size));
    undo.push(() => before.copy(window, at));
    const value = Buffer.alloc(8);
    switch (random.below(4)) {
      case 0:
        value.writeBigUInt64LE(words[random.below(words.length)]!);
        break;
      case 1:
        before.copy(value);
        value[random.below(size)]! ^= 1 << random.below(8);
        break;
      case 2:
        // A value from elsewhere in the same window: a plausible pointer, length or index at a wrong place.
        window.copy(value, 0, random.below(window.length - size + 1));
        break;
      default:
        for (let i = 0; i < size; i++) value[i] = random.below(256);
    }
    value.copy(window, at, 0, size);
  }
  return () => {
    for (const back of undo.reverse()) back();
  };
}

const figures = { inputs: 0, errors: 0, slowest: 0, slowestWhat: "" };

/** Runs `read` on `inputs` mutations of windows that `choose` picks. */
function attack(
  what: string,
  subject: Subject,
  inputs: number,
  seed: number,
  choose: (random: Random) => Buffer | undefined,
  read: () => void,
): void {
  const random = new Random(seed);
  const rss = process.memoryUsage.rss();
  for (let input = 0; input < inputs; input++) {
    const window = choose(random);
    assert.ok(window && window.length > 0, `${what}: nothing to change`);
    const undo = mutate(window, random);
    const began = performance.now();
    try {
      read();
    } catch (error) {
      if (!(error instanceof ProcscopeError) || error.code === "INTERNAL")
        throw new Error(
          `${subject.name}, ${what}, seed ${seed}, input ${input}: ${error instanceof Error ? error.stack : error}`,
        );
      figures.errors++;
    } finally {
      undo();
    }
    const took = performance.now() - began;
    figures.inputs++;
    if (took > figures.slowest) {
      figures.slowest = took;
      figures.slowestWhat = `${subject.name}, ${what}, input ${input}`;
    }
    assert.ok(
      took < mostMilliseconds,
      `${subject.name}, ${what}, seed ${seed}, input ${input}: ${Math.round(took)} ms`,
    );
  }
  const growth = process.memoryUsage.rss() - rss;
  assert.ok(growth < mostGrowth, `${subject.name}, ${what}: grew by ${growth} bytes`);
}

/** Whole goroutines, all text and all facts of them, as dump and summary make them. */
function readGoroutines(runtime: GoRuntime): string {
  const reader = new GoroutineReader(runtime);
  const addresses = reader.addresses();
  const table = new GoroutineTable(reader.layout, addresses.length);
  const out = new ChunkWriter();
  const writer = new TracebackWriter(reader, out, monotonicNow());
  reader.read(table, addresses, 0, addresses.length, 0, {
    wants: (row) => !reader.isSystem(table, row),
    stack: (row, node, copy) => writer.withStack(table, row, node, copy),
    noStack: (row) => writer.withoutStack(table, row),
  });
  return out.take().toString("utf8");
}

function readViews(runtime: GoRuntime): void {
  const live = new LiveGoroutines(takeSnapshot(new GoroutineReader(runtime), { stacks: true }));
  for (let row = 0; row < live.count; row++) {
    live.state(row);
    live.reason(row);
    live.waitSeconds(row);
    live.start(row);
    live.creator(row);
    live.current(row);
    live.frames(row);
    live.labels(row);
  }
}

function forEachSubject(name: string, body: (subject: Subject, seed: number) => void): void {
  test(name, () => {
    for (const [index, subject] of subjects.entries()) body(subject, 1000 * (index + 1));
  });
}

forEachSubject("nothing changed: the fixture reads as the process does", (subject) => {
  assert.ok(readGoroutines(subject.runtime).split("\n\n").length > 100);
  readViews(subject.runtime);
});

forEachSubject("ELF files", (subject, seed) => {
  const { file } = subject;
  const headers = file.subarray(0, 64 + 56 * 16);
  const sectionsAt = Number(file.readBigUInt64LE(40));
  const sections = file.subarray(sectionsAt, sectionsAt + 64 * file.readUInt16LE(60));
  const wanted = new Set(["runtime.allgs", "runtime.allm"]);
  attack(
    "headers",
    subject,
    1700,
    seed,
    (random) => (random.below(2) === 0 ? headers : sections),
    () => {
      const elf = new ElfFile(new BufferSource(file));
      for (const section of elf.sections.slice(0, 64)) if (section.size < 1 << 20) elf.contents(section);
      elf.symbols(wanted, "runtime.");
      elf.debugSection("info");
    },
  );
});

forEachSubject("build information", (subject, seed) => {
  const elf = new ElfFile(new BufferSource(subject.file));
  const section = elf.section(".go.buildinfo")!;
  const address = section.address + subject.bias;
  const window = subject.memory.window(address, section.size);
  attack(
    "build info",
    subject,
    1400,
    seed,
    () => window,
    () => {
      findBuildInfo(subject.memory, address, window!);
    },
  );
});

forEachSubject("function tables", (subject, seed) => {
  const { runtime, memory } = subject;
  const module = runtime.modules[0]!;
  const elf = new ElfFile(new BufferSource(subject.file));
  const section = (elf.section(".gopclntab") ?? elf.section(".data.rel.ro.gopclntab"))!;
  const table = memory.window(section.address + subject.bias, section.size)!;
  const image = programImage(memory, elf, subject.bias);
  const pcs = [...module.pclntab.functions()]
    .filter((_, index) => index % 97 === 0)
    .map(({ entry, size }) => entry + Math.floor(size / 2));
  const head = table.subarray(0, 256);
  attack(
    "pclntab",
    subject,
    400,
    seed,
    (random) => (random.below(3) === 0 ? head : table),
    () => {
      const { pclntab } = findModules(image, [runtime.layout]).modules[0]!;
      for (const pc of pcs) {
        const fn = pclntab.find(pc);
        if (!fn) continue;
        pclntab.frameSize(fn, pc);
        pclntab.position(fn, pc);
        for (let index = 0; index < 4; index++) pclntab.pcData(fn, index, pc);
        for (let index = 0; index < 8; index++) pclntab.funcData(fn, index);
      }
    },
  );
});

forEachSubject("module data and variables, through all of attach", (subject, seed) => {
  const { runtime, memory, bias } = subject;
  const module = runtime.modules[0]!;
  const elf = new ElfFile(new BufferSource(subject.file));
  const moduledata = memory.window(module.address, runtime.layout.sizeOf("moduledata") ?? 512)!;
  const globals = [...runtime.globals.values()]
    .map((address) => memory.window(address, 64))
    .filter((window) => window !== undefined);
  attack(
    "moduledata",
    subject,
    400,
    seed,
    (random) => (random.below(2) === 0 ? moduledata : globals[random.below(globals.length)]),
    () => {
      readGoroutines(attachRuntime(memory, elf, bias));
    },
  );
});

/** Where goroutines lie, and their stacks. */
function goroutineWindows(subject: Subject): { structs: Buffer[]; stacks: Buffer[]; list: Buffer } {
  const { runtime, memory } = subject;
  const reader = new GoroutineReader(runtime);
  const addresses = reader.addresses();
  const table = new GoroutineTable(reader.layout, addresses.length);
  reader.load(table, addresses, 0, addresses.length);
  const structs: Buffer[] = [];
  const stacks: Buffer[] = [];
  for (let row = 0; row < addresses.length; row++) {
    const struct = memory.window(addresses[row]!, runtime.layout.sizeOf("g") ?? 400);
    const sp = table.syscallSp[row] || table.sp[row]!;
    const stack = memory.window(sp, table.stackHigh[row]! - sp);
    if (struct) structs.push(struct);
    if (stack && stack.length > 0) stacks.push(stack);
  }
  return { structs, stacks, list: memory.window(runtime.globals.get("allgs")!, 24)! };
}

forEachSubject("goroutines and their stacks", (subject, seed) => {
  const { structs, stacks, list } = goroutineWindows(subject);
  const pick = (random: Random): Buffer | undefined => {
    const kind = random.below(20);
    if (kind === 0) return list;
    return kind < 10 ? structs[random.below(structs.length)] : stacks[random.below(stacks.length)];
  };
  attack("goroutines as text", subject, 1900, seed, pick, () => void readGoroutines(subject.runtime));
  attack("goroutines in views", subject, 1000, seed + 1, pick, () => readViews(subject.runtime));
});

forEachSubject("labels", (subject, seed) => {
  const { runtime, memory } = subject;
  const reader = new GoroutineReader(runtime);
  const addresses = reader.addresses();
  const table = new GoroutineTable(reader.layout, addresses.length);
  reader.load(table, addresses, 0, addresses.length);
  const labelled = [...table.labels].filter((address) => address !== 0);
  assert.ok(labelled.length > 0);
  const windows = labelled.flatMap((address) => memory.window(address, 256) ?? []);
  attack(
    "labels",
    subject,
    300,
    seed,
    (random) => windows[random.below(windows.length)],
    () => {
      const labels = new LabelReader(runtime);
      for (const address of labelled) labels.read(address);
    },
  );
});

forEachSubject("what is waited for, threads, statistics and profiles", (subject, seed) => {
  const { runtime, memory } = subject;
  const reader = new GoroutineReader(runtime);
  const addresses = reader.addresses();
  const table = new GoroutineTable(reader.layout, addresses.length);
  reader.load(table, addresses, 0, addresses.length);
  const rows = [...addresses.keys()].filter((row) => !table.gone(row));
  const waits = (): void => {
    const found = readWaits(runtime, table, rows, (row) => reader.statusWord(table, row));
    for (const row of rows)
      for (const { kind, address } of found.entries.get(row) ?? [])
        if (kind === "channel") readChannel(runtime, address);
    goThreads(runtime);
  };
  const statistics = (): void => {
    new MemStatsReader(runtime).read();
    readMemoryBuckets(runtime);
    readContentionBuckets(runtime, "block");
    readThreadStacks(runtime);
  };
  // The heap as far as it is in use: records of waiting lie there, and the channels.
  const heap = memory.regions.filter(({ start, bytes }) =>
    addresses.some((address) => address >= start && address < start + bytes.length),
  );
  const data = ["memstats", "mheap_", "gcController", "mbuckets", "allm", "allp", "semtable"] as const;
  const windows = data.flatMap((name) => {
    const address = runtime.globals.get(name);
    return (address === undefined ? undefined : memory.window(address, name === "mheap_" ? 65536 : 512)) ?? [];
  });
  const structs = [...goThreads(runtime).keys()].flatMap((address) => memory.window(address, 512) ?? []);
  const pick = (random: Random): Buffer | undefined => {
    const from = [heap.map(({ bytes }) => bytes), windows, structs][random.below(3)]!;
    return (from.length > 0 ? from : windows)[random.below(Math.max(1, (from.length > 0 ? from : windows).length))];
  };
  attack("waits and threads", subject, 400, seed, pick, waits);
  attack("statistics and profiles", subject, 400, seed + 1, pick, statistics);
});

after(() => {
  console.log(
    `hostile: ${figures.inputs} inputs, ${figures.errors} refused with an error, the slowest took ${Math.round(figures.slowest)} ms (${figures.slowestWhat})`,
  );
});

test("20,000 inputs were tried", () => {
  assert.ok(figures.inputs >= 20_000, `only ${figures.inputs}`);
});
