import assert from "node:assert/strict";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { displayWidth } from "../../src/base/text-table.ts";
import { clip, fit, sparkline } from "../../src/cli/screen/cells.ts";
import { decodeKeys } from "../../src/cli/screen/keys.ts";
import type { TopSample } from "../../src/cli/top/sample.ts";
import { type TopActions, TopScreen } from "../../src/cli/top/top-screen.ts";
import { GoroutineSetBuilder } from "../../src/views/goroutine-set.ts";
import type { GoroutineSource } from "../../src/views/goroutine-source.ts";
import { countStates } from "../../src/views/groups.ts";
import { seed } from "../support/seed.ts";

test("keys, the wheel, pastes; sequences that mean nothing are dropped whole", () => {
  assert.deepEqual(decodeKeys("\x1b[A\x1bOB\x1b[5~\x1b[1;5A"), ["up", "down", "page-up", "up"]);
  assert.deepEqual(decodeKeys("\x1b[<64;10;5M\x1b[<65;10;5M\x1b[<0;3;3m"), ["wheel-up", "wheel-down"]);
  assert.deepEqual(decodeKeys("\r\x7f\x03\x1a\x1b"), ["enter", "backspace", "interrupt", "suspend", "escape"]);
  assert.deepEqual(decodeKeys("/漢字\r"), [{ text: "/漢字" }, "enter"]);
  assert.deepEqual(decodeKeys("\x1b[200~q\x1b[201~"), [{ text: "q" }]);
});

test("any input is decoded to its end", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("\x1b", "[", "<", "6", ";", "M", "~", "A", "q", "\x00", "字") }),
      (text) => {
        for (const key of decodeKeys(text)) if (typeof key === "object") assert.doesNotMatch(key.text, /[\x00-\x1f]/);
      },
    ),
    { seed },
  );
});

const pieces = fc.string({ unit: fc.constantFrom("a", " ", "漢", "🚀", "é", "e\u0301", "\x1b[1m", "\x1b[0m", "x") });

test("clip never passes the width, fit always fills it", () => {
  fc.assert(
    fc.property(pieces, fc.nat(20), (text, width) => {
      assert.ok(displayWidth(clip(text, width)) <= width);
      assert.equal(displayWidth(fit(text, width)), width);
      if (width > 0 && displayWidth(text) <= width) assert.equal(clip(text, width), text);
    }),
    { seed },
  );
  assert.equal(fit("漢字漢字", 5), "漢字…");
  assert.equal(fit("ab漢", 3), "ab…");
  assert.equal(sparkline([0, 1, 2, 3], 4), "▁▃▆█");
  assert.equal(sparkline([5, 5], 4), "▁▁");
  assert.equal(sparkline([], 4), "");
});

function source(count: number): GoroutineSource {
  const builder = new GoroutineSetBuilder();
  const names = ["main.serve", "net/http.(*conn).serve", "main.처리하다", "main.🚀", "main.evil\x1b[2J"];
  const stacks = names.map((name) => builder.stack([builder.place(name, "/src/main.go", 7)]));
  const creator = builder.place("main.main", "/src/main.go", 3);
  for (let id = 1; id <= count; id++) {
    builder.add({
      id,
      weight: 1,
      state: id % 7 === 0 ? "running" : "waiting",
      reason: id % 7 === 0 ? "" : "chan receive",
      waitSeconds: id % 3 === 0 ? id : -1,
      lockedToThread: false,
      stack: stacks[id % stacks.length]!,
      creator,
      creatorId: 1,
      labels: id < 3 ? new Map([["key", "\x07bell"]]) : undefined,
    });
  }
  return builder.finish();
}

function sample(goroutines: GoroutineSource): TopSample {
  const head = {
    pid: 4711,
    name: "na\x1bme",
    goVersion: "1.26.8",
    uptime: 3,
    cpuPercent: undefined,
    residentBytes: 5e6,
    threads: 5,
    heap: undefined,
    processors: undefined,
  };
  const states = countStates(goroutines);
  return { at: Date.now(), head, source: goroutines, stacks: true, states, total: goroutines.count };
}

const actions: TopActions = {
  quit() {},
  refresh() {},
  setInterval() {},
  writeDump: async () => "file",
  describe: (id) => [`goroutine ${id}`, "漢".repeat(300)],
  resources: () => () => undefined,
  redraw() {},
};

for (const count of [0, 1, 1000, 1_000_000]) {
  test(`${count} goroutines: every screen in every size keeps to it`, () => {
    const screen = new TopScreen(actions, { interval: 2, by: { kind: "start" } });
    const check = (width: number, height: number): string[] => {
      const rows = screen.rows(width, height);
      assert.ok(rows.length <= Math.max(1, height), `${rows.length} rows of ${height}`);
      for (const row of rows.map((one) => clip(one, width))) {
        assert.ok(displayWidth(row) <= width, JSON.stringify(row));
        assert.doesNotMatch(
          stripVTControlCharacters(row),
          /[\x00-\x1f\x7f]/,
          "control characters of names are escaped",
        );
      }
      return rows;
    };
    check(80, 24);
    screen.update(sample(source(count)));
    const rows = check(160, 24);
    assert.ok(rows.some((row) => row.includes(`Goroutines ${count}:`)));
    if (count >= 1000) {
      const shown = stripVTControlCharacters(rows[5]!);
      assert.match(shown, new RegExp(`^ *${count / 5} `));
    }
    const sizes = [
      [1, 1],
      [2, 2],
      [20, 3],
      [80, 24],
      [500, 200],
    ] as const;
    for (const key of ["g", "S", "m", "g", "g", "g", "g", "h", "q", "/serve", "\x1b", "s", "s"]) {
      for (const decoded of decodeKeys(key)) screen.key(decoded);
      screen.update(sample(source(Math.min(count, 1000))));
      for (const [width, height] of sizes) check(width, height);
    }
    for (const key of ["enter", "end", "enter", "end", "escape", "home"] as const) {
      screen.key(key);
      for (const [width, height] of sizes) check(width, height);
    }
  });
}
