/** The Grouper over columns: held against the library's on random histories, and alone where it does more. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { ColumnGrouper } from "../../src/proc/column-grouper.ts";
import { Counter, Gauge, type Group } from "../../src/proc/group.ts";
import { Grouper, ProcIdInfo, procIter } from "../../src/proc/index.ts";
import type { Namer } from "../../src/proc/process-facts.ts";
import { churn, exit, grouperOver, process, wanted } from "./simulated-grouper.ts";
import { type SimulatedProcess, SimulatedSource } from "./simulated-source.ts";

const find = (grouper: ColumnGrouper, name: string): Group | undefined =>
  [...grouper.groups].find((group) => group.name === name);
const cpuOf = (grouper: ColumnGrouper, name: string): number =>
  Math.round((find(grouper, name)?.counters[Counter.cpuUser] ?? 0) / 1e6) / 1e3;
const gauge = (grouper: ColumnGrouper, name: string, which: number): number => find(grouper, name)?.gauges[which] ?? 0;

describe("the column grouper", () => {
  it("agrees with the library's Grouper on random histories of processes", () => {
    // Events on a handful of pids: start under a parent, use something, end, or end and give the pid to another.
    const event = fc.record({
      pid: fc.integer({ min: 1, max: 6 }),
      kind: fc.constantFrom("start", "use", "use", "end", "reuse"),
      comm: fc.constantFrom("a", "b", "x", "y"),
      ppid: fc.integer({ min: 0, max: 6 }),
      amount: fc.integer({ min: 0, max: 9 }),
    });
    const history = fc.array(fc.array(event, { maxLength: 8 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(history, fc.boolean(), fc.boolean(), (scans, trackChildren, countFromStart) => {
        const source = new SimulatedSource();
        const columns = grouperOver(source, { trackChildren, countFromStart, exitRecords: false });
        const grouper = new Grouper(
          trackChildren,
          { matchAndName: ({ name }) => ({ matched: wanted.includes(name), name }) },
          { countFromStart },
        );
        const alive = new Map<number, SimulatedProcess>();
        let clock = 1;
        for (const events of scans) {
          for (const { pid, kind, comm, ppid, amount } of events) {
            clock++;
            const known = alive.get(pid);
            if (kind === "end") alive.delete(pid);
            else if (kind === "reuse" || (kind === "start" && !known)) {
              alive.set(pid, process(pid, comm, { ppid: ppid === pid ? 0 : ppid, start: clock, cpu: amount, rss: 1 }));
            } else if (known) {
              known.cpu += amount;
              known.readBytes += amount * 2;
              known.rss = amount;
            }
          }
          source.list = [...alive.values()];
          columns.update();
          grouper.update(
            procIter(
              source.list.map(
                (p) =>
                  new ProcIdInfo(
                    { pid: p.pid, startTimeRel: p.start },
                    { name: p.comm, cmdline: [p.comm], parentPid: p.ppid, startTime: new Date(p.start * 10) },
                    {
                      cpuTime: p.cpu,
                      readBytes: BigInt(p.readBytes),
                      writeBytes: 0n,
                      residentBytes: BigInt(p.rss),
                      virtualBytes: 0n,
                    },
                  ),
              ),
            ),
          );
          const expected = [...grouper.groups()]
            .map(([name, g]) => [name, g.cpu, Number(g.readBytes), g.procs, Number(g.memresident)])
            .sort();
          const actual = [...columns.groups]
            .map((g) => [
              g.name,
              g.counters[Counter.cpuUser]! / 1e9,
              g.counters[Counter.readBytes]!,
              g.gauges[Gauge.procs]!,
              g.gauges[Gauge.residentBytes]!,
            ])
            .sort();
          assert.deepEqual(actual, expected);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("counts what a tracked process used after its last scan, once", () => {
    const source = new SimulatedSource();
    const grouper = grouperOver(source);
    source.list = [];
    grouper.update();
    source.list = [process(5, "a", { cpu: 2 })];
    grouper.update();
    assert.equal(cpuOf(grouper, "a"), 2);
    // The record comes with the scan that misses it.
    source.list = [];
    grouper.update(() => [exit(5, "a", 2.5, { signal: 9 })]);
    assert.equal(cpuOf(grouper, "a"), 2.5);
    const { counters, exits } = find(grouper, "a")!;
    assert.deepEqual([counters[Counter.started], counters[Counter.exited]], [1, 1]);
    assert.deepEqual([...exits], [[-9, 1]]);
    grouper.update(() => []);
    assert.equal(cpuOf(grouper, "a"), 2.5);
  });

  it("counts it once also where the record comes before the scan, with a zombie, or after it", () => {
    for (const when of ["before", "zombie", "late"] as const) {
      const source = new SimulatedSource();
      const grouper = grouperOver(source);
      grouper.update();
      source.list = [process(5, "a", { cpu: 2 })];
      grouper.update();
      const record = exit(5, "a", 3);
      if (when === "before") {
        grouper.applyExits([record]);
        source.list = [];
        grouper.update(() => []);
      } else if (when === "zombie") {
        grouper.applyExits([record]);
        source.list = [process(5, "a", { cpu: 3, state: "Z" })];
        grouper.update(() => []);
        assert.equal(gauge(grouper, "a", Gauge.zombie), 1);
        source.list = [];
        grouper.update(() => []);
      } else {
        source.list = [];
        grouper.update(() => []);
        grouper.applyExits([record]);
        grouper.update(() => []);
      }
      assert.equal(cpuOf(grouper, "a"), 3, when);
      assert.equal(find(grouper, "a")!.counters[Counter.exited], 1, when);
    }
  });

  it("counts a process that no scan saw whole, and not again as a zombie", () => {
    const source = new SimulatedSource();
    const grouper = grouperOver(source);
    grouper.update();
    grouper.applyExits([exit(7, "a", 1.5, { exitCode: 3 })]);
    assert.equal(cpuOf(grouper, "a"), 1.5);
    source.list = [process(7, "a", { cpu: 1.5, state: "Z" })];
    grouper.update(() => []);
    source.list = [];
    grouper.update(() => []);
    assert.equal(cpuOf(grouper, "a"), 1.5);
    const { counters, exits } = find(grouper, "a")!;
    assert.deepEqual([counters[Counter.started], counters[Counter.exited], exits.get(3)], [1, 1, 1]);
  });

  it("gives an unseen process the group of its parent, also through records of the same batch", () => {
    const source = new SimulatedSource();
    const grouper = grouperOver(source);
    source.list = [process(1, "a")];
    grouper.update();
    // 12's parent 11 is itself unseen, and its record comes later.
    grouper.applyExits([exit(12, "x", 1, { ppid: 11 }), exit(11, "y", 2, { ppid: 1 }), exit(13, "x", 4, { ppid: 99 })]);
    assert.equal(cpuOf(grouper, "a"), 3);
    assert.equal(grouper.unattributedExits, 1);
    // Records that name each other as parents end.
    grouper.applyExits([exit(21, "x", 1, { ppid: 22 }), exit(22, "x", 1, { ppid: 21 })]);
    assert.equal(grouper.unattributedExits, 3);
  });

  it("tells a record of an earlier process from the one that has its pid now", () => {
    const source = new SimulatedSource();
    const grouper = grouperOver(source);
    grouper.update();
    source.list = [process(5, "a", { start: 50, cpu: 1 })];
    grouper.update();
    source.list = [process(5, "b", { start: 60, cpu: 1 })];
    grouper.update(() => [exit(5, "a", 4, { startTicks: 50 })]);
    assert.deepEqual([cpuOf(grouper, "a"), cpuOf(grouper, "b")], [4, 1]);
  });

  it("moves a process that execs to its new group, and finds a wrapper that does", () => {
    const source = new SimulatedSource();
    const grouper = grouperOver(source);
    source.list = [process(1, "x"), process(2, "a", { cpu: 1 })];
    grouper.update();
    assert.equal(gauge(grouper, "a", Gauge.procs), 1);
    source.list = [process(1, "a", { execMark: 2 }), process(2, "b", { cpu: 3, execMark: 2 })];
    grouper.update();
    source.list = [process(1, "a", { execMark: 2 }), process(2, "b", { cpu: 4, execMark: 2 })];
    grouper.update();
    assert.deepEqual([gauge(grouper, "a", Gauge.procs), gauge(grouper, "b", Gauge.procs)], [1, 1]);
    assert.deepEqual([cpuOf(grouper, "a"), cpuOf(grouper, "b")], [0, 3]);
  });

  it("a rename without an exec moves a matched process only with recheck", () => {
    for (const recheck of [false, true]) {
      const source = new SimulatedSource();
      const grouper = grouperOver(source, { recheck });
      source.list = [process(1, "a"), process(2, "x")];
      grouper.update();
      source.list = [process(1, "b"), process(2, "b")];
      grouper.update();
      assert.equal(gauge(grouper, "b", Gauge.procs), recheck ? 2 : 1);
    }
  });

  it("a refused field loses neither the process nor, later, its baseline", () => {
    const io = 2;
    const source = new SimulatedSource();
    const grouper = grouperOver(source);
    source.list = [process(1, "a", { cpu: 1, readBytes: 100, denied: io })];
    grouper.update();
    source.list = [process(1, "a", { cpu: 2, readBytes: 200, denied: io })];
    grouper.update();
    assert.equal(cpuOf(grouper, "a"), 1);
    assert.equal(grouper.errors.partial, 2);
    source.list = [process(1, "a", { cpu: 2, readBytes: 300 })];
    grouper.update();
    source.list = [process(1, "a", { cpu: 2, readBytes: 350 })];
    grouper.update();
    assert.equal(find(grouper, "a")!.counters[Counter.readBytes], 50);
  });

  it("a scan that fails takes nothing for gone", () => {
    const source = new SimulatedSource();
    const grouper = grouperOver(source);
    source.list = [process(1, "a", { cpu: 1 })];
    grouper.update();
    source.broken = true;
    assert.throws(() => grouper.update());
    assert.equal(grouper.errors.scans, 1);
    source.list = [process(1, "a", { cpu: 3 })];
    grouper.update();
    assert.equal(cpuOf(grouper, "a"), 2);
    assert.equal(find(grouper, "a")!.counters[Counter.exited], 0);
  });

  it("thread names keep their counters when they go and come back; states count the main thread once", () => {
    const source = new SimulatedSource();
    const grouper = grouperOver(source, { threads: true });
    const threads = (cpu: number) => [
      { tid: 1, start: 1, comm: "main", cpu: 1 },
      { tid: 2, start: 2, comm: "worker", cpu },
    ];
    source.list = [process(1, "a", { threads: threads(1) })];
    grouper.update();
    source.list = [process(1, "a", { threads: threads(4) })];
    grouper.update();
    assert.equal(gauge(grouper, "a", Gauge.sleeping), 2);
    source.list = [process(1, "a", { threads: [{ tid: 1, start: 1, comm: "main", cpu: 1 }] })];
    grouper.update();
    assert.equal(gauge(grouper, "a", Gauge.sleeping), 1);
    source.list = [
      process(1, "a", { threads: [...threads(9).slice(0, 1), { tid: 9, start: 90, comm: "worker", cpu: 2 }] }),
    ];
    grouper.update();
    const worker = find(grouper, "a")!.threads.get("worker")!;
    assert.equal(worker.count, 1);
    assert.equal(worker.counters[Counter.cpuUser]! / 1e9, 5);
  });

  it("bounds groups and thread names: the rest counts for other", () => {
    const source = new SimulatedSource();
    const open: Namer = { name: ({ comm }) => ({ name: comm, labels: {} }), fixedNames: [] };
    const grouper = grouperOver(source, { namer: open, maxGroups: 3, threads: true, maxThreadNames: 2 });
    const names = (n: number) =>
      Array.from({ length: n }, (_, i) => ({ tid: 100 + i, start: 1, comm: `t${i}`, cpu: 0 }));
    source.list = Array.from({ length: 10 }, (_, i) => process(i + 1, `p${i}`, { threads: i === 0 ? names(5) : [] }));
    grouper.update();
    assert.deepEqual(
      [...grouper.groups].map((g) => g.name),
      ["p0", "p1", "p2", "other"],
    );
    assert.equal(gauge(grouper, "other", Gauge.procs), 7);
    assert.deepEqual([...find(grouper, "p0")!.threads.keys()], ["t0", "t1", "other"]);
  });

  it("a group that is forgotten and comes back counts on", () => {
    const source = new SimulatedSource();
    const grouper = grouperOver(source, { emptyGroupLife: 0 });
    source.list = [process(1, "a", { cpu: 1 })];
    grouper.update();
    source.list = [process(1, "a", { cpu: 3 })];
    grouper.update();
    source.list = [];
    grouper.update(() => []);
    assert.equal(find(grouper, "a"), undefined);
    source.list = [process(9, "a", { cpu: 1 })];
    grouper.update(() => []);
    assert.equal(cpuOf(grouper, "a"), 3);
  });
});

describe("churn", () => {
  it("20,000 processes on 300 pids: no counter decreases, no CPU is lost or invented, nothing is kept", () => {
    const result = churn(20_000, 300);
    assert.equal(result.decreases, 0);
    assert.ok(Math.abs(result.counted - result.used) < 1e-3 * result.used, `${result.counted} of ${result.used}`);
    assert.ok(result.rows <= 1024, `${result.rows} rows`);
  });
});
