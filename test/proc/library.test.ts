/** The process library held against what process-exporter's package proc v0.1.0 promises, and against what it did. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";
import { ProcscopeError } from "../../src/base/errors.ts";
import {
  FS,
  type GroupCountMap,
  Grouper,
  info,
  type MatchNamer,
  type Proc,
  ProcIdInfo,
  type ProcIter,
  procIter,
  procKey,
  Tracker,
} from "../../src/proc/index.ts";
import { ListIter } from "../../src/proc/iter.ts";

type Metrics = readonly [cpu: number, read: number, write: number, rss: number, vsz: number];

/** A process as a scan sees it. */
function proc(
  pid: number,
  name: string,
  [cpu, read, write, rss, vsz]: Metrics,
  more: { ppid?: number; start?: number } = {},
): ProcIdInfo {
  return new ProcIdInfo(
    { pid, startTimeRel: more.start ?? 0 },
    { name, cmdline: [name], parentPid: more.ppid ?? 0, startTime: new Date(0) },
    {
      cpuTime: cpu,
      readBytes: BigInt(read),
      writeBytes: BigInt(write),
      residentBytes: BigInt(rss),
      virtualBytes: BigInt(vsz),
    },
  );
}

const zero: Metrics = [0, 0, 0, 0, 0];

/** Wants the names given, each its own group. */
const namer = (...names: string[]): MatchNamer => ({
  matchAndName: ({ name }) => ({ matched: names.includes(name), name: names.includes(name) ? name : "" }),
});

/** [cpu, read, write, procs, rss, vsz] of each group. */
function table(groups: GroupCountMap): Record<string, number[]> {
  const rows: Record<string, number[]> = {};
  for (const [name, g] of groups) {
    rows[name] = [
      g.cpu,
      Number(g.readBytes),
      Number(g.writeBytes),
      g.procs,
      Number(g.memresident),
      Number(g.memvirtual),
    ];
  }
  return rows;
}

/** A process whose metrics fail. */
function failing(from: ProcIdInfo, code: "PERMISSION" | "UNREADABLE"): Proc {
  return {
    getPid: () => from.pid,
    getProcId: () => from.getProcId(),
    getStatic: () => from.getStatic(),
    getMetrics: () => {
      throw new ProcscopeError(code, "not this time");
    },
  };
}

/** An iterator whose list could not be read to its end. */
function broken(procs: readonly Proc[]): ProcIter {
  return new ListIter(procs.length, (i) => procs[i]!, new ProcscopeError("UNREADABLE", "list broke off"));
}

describe("iterators and FS", () => {
  it("scenario 1: an iterator gives exactly its processes, in order", () => {
    const p1 = proc(1, "a", zero);
    const p2 = proc(2, "b", zero);
    for (const procs of [[p1], [p1, p2]]) {
      const iter = procIter(procs);
      const seen: number[] = [];
      while (iter.next()) seen.push(info(iter).pid);
      iter.close();
      assert.deepEqual(
        seen,
        procs.map((p) => p.pid),
      );
      assert.deepEqual(
        [...procIter(procs)].map((p) => p.getPid()),
        procs.map((p) => p.pid),
      );
    }
    assert.throws(() => procIter([p1]).getPid(), { code: "USAGE" });
  });

  it("scenario 2: all processes of /proc include this one, with its parent", () => {
    const fs = new FS("/proc");
    const iter = fs.allProcs();
    let count = 0;
    let own: ProcIdInfo | undefined;
    while (iter.next()) {
      count++;
      if (iter.getPid() === process.pid) own = info(iter);
    }
    iter.close();
    assert.ok(count > 0);
    assert.equal(own?.parentPid, process.ppid);
    assert.equal(own?.name, "node");
    assert.ok(own.residentBytes > 1_000_000n && own.virtualBytes > own.residentBytes);
    assert.deepEqual(own.cmdline.slice(0, 1), [process.argv0]);
    const age = (Date.now() - own.startTime.getTime()) / 1000;
    assert.ok(Math.abs(age - process.uptime()) < 3, `age ${age}, uptime ${process.uptime()}`);
    assert.ok(own.cpuTime > 0 && own.cpuTime < age * 20);
  });

  it("scenario 3: a child is seen exactly while it is there", async () => {
    const children = (): number[] => {
      const found: number[] = [];
      for (const p of new FS("/proc").allProcs()) {
        try {
          const all = info(p);
          if (all.parentPid === process.pid && all.name === "cat") found.push(all.pid);
        } catch {
          // Ended while it was read.
        }
      }
      return found;
    };
    assert.deepEqual(children(), []);
    const cat = spawn("cat", [], { stdio: ["pipe", "ignore", "ignore"] });
    try {
      await once(cat, "spawn");
      for (let i = 0; i < 100 && children().length === 0; i++) await new Promise((r) => setTimeout(r, 10));
      assert.deepEqual(children(), [cat.pid]);
    } finally {
      cat.stdin.end();
    }
    await once(cat, "exit");
    assert.deepEqual(children(), []);
  });

  it("refuses a mount that is no procfs, and tells at close() that the list could not be read", () => {
    assert.throws(() => new FS("/usr"), { code: "UNREADABLE" });
    const fs = new FS("/proc");
    Object.defineProperty(fs, "mountPoint", { value: "/proc/self/nothing" });
    const iter = fs.allProcs();
    assert.equal(iter.next(), false);
    assert.throws(() => iter.close(), { code: "UNREADABLE" });
  });

  it("a process that is gone is NO_PROCESS", () => {
    assert.throws(() => new FS("/proc").proc(2 ** 22 + 1).getStatic(), { code: "NO_PROCESS" });
  });
});

for (const compat of [undefined, "v0.1.0"] as const) {
  const mode = compat ? ` (compat ${compat})` : "";
  describe(`Tracker and Grouper${mode}`, () => {
    const options = { compat };

    it("scenario 4: new, tracked, ignored", () => {
      const tracker = new Tracker(options);
      const p1 = proc(1, "g1", zero, { start: 1 });
      const p2 = proc(2, "g2", zero, { start: 2 });
      assert.deepEqual(tracker.update(procIter([p1])).newProcs.map(procKey), ["1:1"]);
      tracker.track("g1", p1);
      assert.deepEqual(tracker.update(procIter([p1])).newProcs, []);
      assert.deepEqual(tracker.update(procIter([p1, p2])).newProcs.map(procKey), ["2:2"]);
      tracker.ignore(p2);
      assert.deepEqual(tracker.update(procIter([p1, p2])).newProcs, []);
      assert.deepEqual(tracker.procIds.get(1), p1.getProcId());
      // A caller may stop tracking by putting null.
      tracker.tracked.set(procKey(p1), null);
      assert.deepEqual(tracker.update(procIter([p1, p2])).newProcs, []);
    });

    it("scenario 5: counters of a tracked process", () => {
      const tracker = new Tracker(options);
      tracker.track("g1", tracker.update(procIter([proc(1, "p", [1, 2, 3, 4, 5])])).newProcs[0]!);
      tracker.update(procIter([proc(1, "p", [1, 2, 3, 4, 5])]));
      tracker.update(procIter([proc(1, "p", [2, 3, 4, 5, 6])]));
      const tracked = tracker.tracked.get("1:0")!;
      assert.deepEqual(tracked.getStats().aggregate, { cpu: 1, readBytes: 1n, writeBytes: 1n });
      assert.deepEqual(tracked.getStats().memory, { resident: 5n, virtual: 6n });
      tracker.update(procIter([proc(1, "p", [4, 6, 8, 9, 10])]));
      assert.deepEqual(tracked.getStats().aggregate, { cpu: 3, readBytes: 4n, writeBytes: 5n });
      assert.deepEqual(tracked.getStats().latest, { cpu: 2, readBytes: 3n, writeBytes: 4n });
      assert.equal(tracked.groupName, "g1");
      assert.deepEqual(tracked.getCmdLine(), ["p"]);
    });

    it("scenario 6: groups, growth of each update", () => {
      const grouper = new Grouper(false, namer("g1", "g2"), options);
      const update = (...procs: ProcIdInfo[]): Record<string, number[]> => {
        assert.equal(grouper.update(procIter(procs)), 0);
        return table(grouper.groups());
      };
      const g3 = proc(3, "g3", [9, 9, 9, 9, 9]);
      assert.deepEqual(update(proc(1, "g1", [1, 2, 3, 4, 5]), proc(2, "g2", [2, 3, 4, 5, 6]), g3), {
        g1: [0, 0, 0, 1, 4, 5],
        g2: [0, 0, 0, 1, 5, 6],
      });
      assert.deepEqual(update(proc(1, "g1", [2, 3, 4, 5, 6]), proc(2, "g2", [4, 5, 6, 7, 8]), g3), {
        g1: [1, 1, 1, 1, 5, 6],
        g2: [2, 2, 2, 1, 7, 8],
      });
      const p1 = proc(1, "g1", [2, 3, 4, 5, 6]);
      assert.deepEqual(update(p1, proc(2, "g2", [5, 6, 7, 8, 9]), proc(4, "g2", [1, 1, 1, 1, 1]), g3), {
        g1: [1, 1, 1, 1, 5, 6],
        g2: [3, 3, 3, 2, 9, 10],
      });
      assert.deepEqual(update(p1, proc(2, "g2", [6, 7, 8, 8, 9]), proc(4, "g2", [2, 2, 2, 2, 2]), g3), {
        g1: [1, 1, 1, 1, 5, 6],
        g2: [5, 5, 5, 2, 10, 11],
      });
    });

    it("scenario 7: children count for their nearest wanted ancestor", () => {
      const grouper = new Grouper(true, namer("g1", "g2"), options);
      const procsOf = (...procs: ProcIdInfo[]): Record<string, number> => {
        grouper.update(procIter(procs));
        return Object.fromEntries([...grouper.groups()].map(([name, group]) => [name, group.procs]));
      };
      const p1 = proc(1, "g1", zero);
      const p2 = proc(2, "g2", zero);
      const p3 = proc(3, "g3", zero);
      assert.deepEqual(procsOf(p1, p2, p3), { g1: 1, g2: 1 });
      const p4 = proc(4, "", zero, { ppid: 1 });
      const p5 = proc(5, "", zero, { ppid: 2 });
      const p6 = proc(6, "", zero, { ppid: 3 });
      assert.deepEqual(procsOf(p1, p2, p3, p4, p5, p6), { g1: 2, g2: 2 });
      const p7 = proc(7, "", zero, { ppid: 5 });
      const p8 = proc(8, "", zero, { ppid: 7 });
      const p9 = proc(9, "", zero, { ppid: 8 });
      assert.deepEqual(procsOf(p1, p2, p3, p5, p6, p9, p8, p7), { g1: 1, g2: 5 });
    });

    it("scenario 8: one group over three updates", () => {
      const grouper = new Grouper(false, namer("g1"), options);
      const update = (metrics: Metrics): number[] => {
        grouper.update(procIter([proc(1, "g1", metrics)]));
        return table(grouper.groups())["g1"]!;
      };
      assert.deepEqual(update([1, 2, 3, 4, 5]), [0, 0, 0, 1, 4, 5]);
      assert.deepEqual(update([2, 3, 4, 5, 6]), [1, 1, 1, 1, 5, 6]);
      assert.deepEqual(update([2, 3, 4, 5, 6]), [1, 1, 1, 1, 5, 6]);
    });

    it("scenario 9: counters never decrease when processes end; empty groups stay", () => {
      const grouper = new Grouper(false, namer("g1", "g2"), options);
      const update = (...procs: ProcIdInfo[]): Record<string, number[]> => {
        grouper.update(procIter(procs));
        return table(grouper.groups());
      };
      update(proc(1, "g1", [1, 2, 3, 4, 5]), proc(2, "g2", [2, 3, 4, 5, 6]));
      assert.deepEqual(
        update(proc(1, "g1", [2, 3, 4, 5, 6]), proc(2, "g2", [4, 5, 6, 7, 8]), proc(3, "g2", [1, 1, 1, 1, 1])),
        { g1: [1, 1, 1, 1, 5, 6], g2: [2, 2, 2, 2, 8, 9] },
      );
      assert.deepEqual(
        update(proc(1, "g1", [2, 3, 4, 5, 6]), proc(3, "g2", [2, 3, 4, 5, 6]))["g2"],
        [3, 4, 5, 1, 5, 6],
      );
      assert.deepEqual(update(proc(3, "g2", [4, 4, 4, 2, 1])), { g1: [1, 1, 1, 0, 0, 0], g2: [5, 5, 5, 1, 2, 1] });
      assert.equal(grouper.groups().get("g1")!.oldestStartTime, undefined);
    });

    it("E2: a reused pid is another process", () => {
      const grouper = new Grouper(false, namer("a"), options);
      const cpu = (seconds: number, start: number): number => {
        grouper.update(procIter([proc(1, "a", [seconds, 0, 0, 0, 0], { start })]));
        return grouper.groups().get("a")!.cpu;
      };
      cpu(10, 1);
      assert.deepEqual([cpu(15, 1), cpu(1, 2), cpu(4, 2)], [5, 5, 8]);
      assert.equal(grouper.tracker.tracked.size, 1);
      assert.equal(grouper.tracker.procIds.size, 1);
    });

    it("E6, E7: a lineage is resolved in any order, for the nearest ancestor", () => {
      const children = [proc(3, "z", zero, { ppid: 2 }), proc(2, "y", zero, { ppid: 1 }), proc(1, "a", zero)];
      const one = new Grouper(true, namer("a"), options);
      one.update(procIter(children));
      assert.equal(one.groups().get("a")!.procs, 3);
      const two = new Grouper(true, namer("a", "b"), options);
      two.update(procIter([proc(3, "z", zero, { ppid: 2 }), proc(2, "b", zero, { ppid: 1 }), proc(1, "a", zero)]));
      assert.deepEqual([two.groups().get("a")!.procs, two.groups().get("b")!.procs], [1, 2]);
    });

    it("E8: a child first seen after its parent died is ignored; E9: one that loses its parent stays", () => {
      const grouper = new Grouper(true, namer("a"), options);
      const parent = proc(1, "a", zero);
      grouper.update(procIter([parent, proc(2, "x", zero, { ppid: 1 })]));
      grouper.update(procIter([proc(2, "x", [3, 0, 0, 0, 0], { ppid: 1 }), proc(3, "y", zero, { ppid: 1 })]));
      assert.deepEqual(table(grouper.groups())["a"]!.slice(0, 4), [3, 0, 0, 1]);
      grouper.update(procIter([proc(2, "x", [4, 0, 0, 0, 0], { ppid: 99 }), proc(3, "y", zero, { ppid: 99 })]));
      assert.deepEqual(table(grouper.groups())["a"]!.slice(0, 4), [4, 0, 0, 1]);
    });

    it("E12: what is neither tracked nor ignored is new again", () => {
      const tracker = new Tracker(options);
      for (let i = 0; i < 3; i++) assert.equal(tracker.update(procIter([proc(1, "x", zero)])).newProcs.length, 1);
    });
  });
}

describe("where v0.1.0 broke its promises", () => {
  it("E1: groups() twice after one update", () => {
    const cpuTwice = (compat: "v0.1.0" | undefined): number[] => {
      const grouper = new Grouper(false, namer("a"), { compat });
      grouper.update(procIter([proc(1, "a", [1, 0, 0, 0, 0])]));
      grouper.groups();
      grouper.update(procIter([proc(1, "a", [3, 0, 0, 0, 0])]));
      return [grouper.groups().get("a")!.cpu, grouper.groups().get("a")!.cpu];
    };
    assert.deepEqual(cpuTwice(undefined), [2, 2]);
    assert.deepEqual(cpuTwice("v0.1.0"), [2, 4]);
  });

  it("two updates before one groups()", () => {
    const cpu = (compat: "v0.1.0" | undefined): number => {
      const grouper = new Grouper(false, namer("a"), { compat });
      for (const seconds of [1, 3, 4]) grouper.update(procIter([proc(1, "a", [seconds, 0, 0, 0, 0])]));
      return grouper.groups().get("a")!.cpu;
    };
    assert.equal(cpu(undefined), 3);
    assert.equal(cpu("v0.1.0"), 1);
  });

  it("E3: a process that may not be read is counted once, tried again, and forgotten when it ends", () => {
    const p = proc(1, "a", [5, 0, 0, 0, 0]);
    const run = (compat: "v0.1.0" | undefined) => {
      const grouper = new Grouper(false, namer("a"), { compat });
      const errors = [1, 2].map(() => grouper.update(procIter([failing(p, "PERMISSION")])));
      grouper.update(procIter([p]));
      const seen = grouper.groups().get("a")?.procs ?? 0;
      grouper.update(procIter([]));
      return { errors, seen, left: grouper.tracker.tracked.size };
    };
    assert.deepEqual(run(undefined), { errors: [1, 0], seen: 1, left: 0 });
    assert.deepEqual(run("v0.1.0"), { errors: [1, 0], seen: 0, left: 1 });
  });

  it("E4: one failed read does not lose a process", () => {
    const run = (compat: "v0.1.0" | undefined): number[][] => {
      const grouper = new Grouper(false, namer("a"), { compat });
      const rows: number[][] = [];
      const p = proc(1, "a", [2, 0, 0, 0, 0]);
      for (const next of [proc(1, "a", [1, 0, 0, 0, 0]), p, failing(p, "UNREADABLE"), proc(1, "a", [5, 0, 0, 0, 0])]) {
        grouper.update(procIter([next]));
        rows.push(table(grouper.groups())["a"]!.slice(0, 4));
      }
      return rows;
    };
    assert.deepEqual(
      run(undefined).map(([cpu, , , procs]) => [cpu, procs]),
      [
        [0, 1],
        [1, 1],
        [1, 1],
        [4, 1],
      ],
    );
    assert.deepEqual(
      run("v0.1.0").map(([cpu, , , procs]) => [cpu, procs]),
      [
        [0, 1],
        [1, 1],
        [1, 0],
        [1, 1],
      ],
    );
  });

  it("E5: a process that renames itself keeps the name of its first sight", () => {
    const grouper = new Grouper(true, namer("a"));
    grouper.update(procIter([proc(1, "x", zero), proc(2, "a", zero)]));
    grouper.update(procIter([proc(1, "a", zero), proc(2, "x", zero)]));
    assert.equal(grouper.groups().get("a")!.procs, 1);
    const unignoring = new Grouper(false, namer("a"));
    unignoring.update(procIter([proc(1, "x", zero)]));
    unignoring.update(procIter([proc(1, "a", zero)]));
    assert.equal(unignoring.groups().get("a")!.procs, 1);
  });

  it("E10: a counter that goes back", () => {
    const run = (compat: "v0.1.0" | undefined) => {
      const grouper = new Grouper(false, namer("a"), { compat });
      grouper.update(procIter([proc(1, "a", [5, 5, 5, 0, 0])]));
      grouper.groups();
      grouper.update(procIter([proc(1, "a", [4, 4, 4, 0, 0])]));
      return grouper.groups().get("a")!;
    };
    assert.deepEqual([run(undefined).cpu, run(undefined).readBytes], [0, 0n]);
    assert.deepEqual([run("v0.1.0").cpu, run("v0.1.0").readBytes], [-1, 18446744073709551615n]);
  });

  it("E11: a list that broke off prunes nothing and loses nothing", () => {
    for (const compat of [undefined, "v0.1.0"] as const) {
      const grouper = new Grouper(false, namer("a"), { compat });
      grouper.update(procIter([proc(1, "a", [1, 0, 0, 0, 0]), proc(2, "a", [1, 0, 0, 0, 0])]));
      grouper.groups();
      assert.throws(() => grouper.update(broken([proc(1, "a", [2, 0, 0, 0, 0])])), { code: "UNREADABLE" });
      assert.equal(grouper.tracker.procIds.size, 2);
      const after = grouper.groups().get("a")!;
      assert.deepEqual([after.cpu, after.procs], [1, 2]);
      grouper.update(procIter([proc(1, "a", [2, 0, 0, 0, 0]), proc(2, "a", [2, 0, 0, 0, 0])]));
      const last = grouper.groups().get("a")!;
      assert.deepEqual([last.cpu, last.procs], [2, 2]);
    }
  });

  it("ignored processes that ended are forgotten", () => {
    const left = (compat: "v0.1.0" | undefined): number => {
      const grouper = new Grouper(true, namer("a"), { compat });
      for (let i = 1; i <= 50; i++) grouper.update(procIter([proc(i, "x", zero, { start: i })]));
      return grouper.tracker.tracked.size;
    };
    assert.equal(left(undefined), 1);
    assert.equal(left("v0.1.0"), 50);
  });
});

describe("beyond v0.1.0", () => {
  it("countFromStart counts the whole usage of what is first seen later", () => {
    const grouper = new Grouper(false, namer("a"), { countFromStart: true });
    grouper.update(procIter([proc(1, "a", [7, 7, 7, 0, 0])]));
    grouper.update(procIter([proc(1, "a", [8, 7, 7, 0, 0]), proc(2, "a", [5, 0, 0, 0, 0], { start: 9 })]));
    assert.equal(grouper.groups().get("a")!.cpu, 6);
  });

  it("bytes are exact past 2^53", () => {
    const grouper = new Grouper(false, namer("a"));
    const huge = (bytes: bigint) =>
      new ProcIdInfo(
        { pid: 1, startTimeRel: 1 },
        { name: "a", cmdline: [], parentPid: 0, startTime: new Date(0) },
        { cpuTime: 0, readBytes: bytes, writeBytes: 0n, residentBytes: 0n, virtualBytes: 0n },
      );
    grouper.update(procIter([huge(1n)]));
    grouper.update(procIter([huge(2n ** 60n + 2n)]));
    assert.equal(grouper.groups().get("a")!.readBytes, 2n ** 60n + 1n);
  });
});
