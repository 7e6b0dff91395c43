import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  ByteSink,
  ExpositionWriter,
  formatValue,
  labelSet,
  metric,
  negotiateFormat,
} from "../../src/exporter/exposition.ts";
import { type GoFacts, GoLedger } from "../../src/exporter/go-inside.ts";
import { acceptsGzip, parseListenAddress } from "../../src/exporter/server.ts";
import { TopGroups } from "../../src/exporter/top-groups.ts";
import { opensslCipher } from "../../src/exporter/web-tls.ts";
import { Counter, Gauge, Group } from "../../src/proc/group.ts";

describe("the exposition writer", () => {
  const total = metric("x_total", "counter", 'a "b" \\ c\nd');
  const bare = metric("x_errors", "counter", "e");
  const labels = labelSet({ a: 'q"\\\n', b: "é" });

  it("writes text 0.0.4", () => {
    const writer = new ExpositionWriter("text");
    writer.family(total);
    writer.sample(labels, 1.5);
    writer.single(bare, 2n ** 60n);
    assert.equal(
      writer.finish(),
      '# HELP x_total a "b" \\\\ c\\nd\n# TYPE x_total counter\nx_total{a="q\\"\\\\\\n",b="é"} 1.5\n' +
        "# HELP x_errors e\n# TYPE x_errors counter\nx_errors 1152921504606846976\n",
    );
  });

  it("writes OpenMetrics 1.0, with the sample names of the text format", () => {
    const writer = new ExpositionWriter("openmetrics");
    writer.family(total);
    writer.sample(labels, 1);
    writer.single(bare, 2);
    assert.equal(
      writer.finish(),
      '# HELP x a \\"b\\" \\\\ c\\nd\n# TYPE x counter\nx_total{a="q\\"\\\\\\n",b="é"} 1\n' +
        "# HELP x_errors e\n# TYPE x_errors unknown\nx_errors 2\n# EOF\n",
    );
  });

  it("writes the same bytes into a sink, again and again", () => {
    const many = Array.from({ length: 2000 }, (_, i) => labelSet({ groupname: `grüppe-${i}-🦊` }));
    const sink = new ByteSink();
    for (const format of ["text", "openmetrics", "text"] as const) {
      const [plain, sunk] = [new ExpositionWriter(format), new ExpositionWriter(format, sink)];
      for (const writer of [plain, sunk]) {
        writer.family(total);
        for (const [i, each] of many.entries()) writer.sample(each, i / 3);
      }
      const text = plain.finish();
      assert.equal(sunk.finish(), "");
      assert.equal(sink.bytes.toString(), text);
    }
  });

  it("refuses what would be a broken text", () => {
    const writer = new ExpositionWriter("text");
    writer.family(total);
    assert.throws(() => writer.family(total), RangeError);
    assert.throws(() => metric("1x", "gauge", ""), RangeError);
    assert.throws(() => labelSet({ "a-b": "" }), RangeError);
  });

  it("formats values as Go reads them", () => {
    assert.deepEqual([Number.NaN, 1 / 0, -1 / 0, 1e21, 0.1].map(formatValue), ["NaN", "+Inf", "-Inf", "1e+21", "0.1"]);
  });

  it("negotiates as Prometheus asks", () => {
    const prometheus =
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert.equal(negotiateFormat(prometheus), "openmetrics");
    assert.equal(negotiateFormat("text/html,*/*;q=0.8"), "text");
    assert.equal(negotiateFormat(undefined), "text");
    assert.equal(negotiateFormat("application/openmetrics-text;q=0.2,text/plain;q=0.9"), "text");
    assert.equal(negotiateFormat("application/openmetrics-text; version=9"), "text");
  });

  it("reads Accept-Encoding and listen addresses", () => {
    assert.deepEqual(["gzip", "deflate, gzip;q=0.5", "gzip;q=0", "identity", undefined].map(acceptsGzip), [
      true,
      true,
      false,
      false,
      false,
    ]);
    assert.deepEqual(parseListenAddress(":9256"), { host: undefined, port: 9256 });
    assert.deepEqual(parseListenAddress("[::1]:0"), { host: "::1", port: 0 });
    assert.deepEqual(parseListenAddress("localhost:80"), { host: "localhost", port: 80 });
    for (const bad of ["9256", "a:b", "a:99999", "vsock://:1", ""]) {
      assert.throws(() => parseListenAddress(bad), { code: "USAGE" });
    }
  });

  it("knows Go's cipher suites", () => {
    assert.equal(opensslCipher("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), "ECDHE-RSA-AES128-GCM-SHA256");
    assert.equal(opensslCipher("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"), "ECDHE-ECDSA-CHACHA20-POLY1305");
    assert.equal(opensslCipher("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"), "ECDHE-RSA-CHACHA20-POLY1305");
    assert.equal(opensslCipher("TLS_RSA_WITH_AES_256_CBC_SHA"), "AES256-SHA");
    assert.equal(opensslCipher("TLS_AES_128_GCM_SHA256"), "TLS_AES_128_GCM_SHA256");
    assert.throws(() => opensslCipher("TLS_NOTHING"), { code: "USAGE" });
  });
});

describe("top groups", () => {
  it("sums what is not shown in other; counters only grow and rates add up", () => {
    const groups = ["a", "b", "c"].map((name) => new Group(name, {}, false));
    const top = new TopGroups(1, "cpu");
    const shown = new Map<string, number>();
    let total = 0;
    let rates = 0;
    for (let step = 0; step < 30; step++) {
      for (const [i, group] of groups.entries()) {
        const used = (step * 7 + i * 5) % 11;
        group.counters[Counter.cpuUser]! += used;
        group.gauges[Gauge.procs] = i + 1;
        total += used;
      }
      const selected = top.select(groups);
      assert.equal(selected.length, 2);
      assert.equal(selected.at(-1)!.name, "other");
      assert.equal(
        selected.reduce((sum, group) => sum + group.gauges[Gauge.procs]!, 0),
        6,
      );
      for (const group of selected) {
        const now = group.counters[Counter.cpuUser]!;
        assert.ok(now >= (shown.get(group.name) ?? 0));
        rates += now - (shown.get(group.name) ?? 0);
        shown.set(group.name, now);
      }
    }
    assert.equal(rates, total);
  });
});

describe("Go inside", () => {
  it("adds processes up; counters do not fall when one ends", () => {
    const facts = (goroutines: number, cycles: number): GoFacts => ({
      version: "go1.22",
      goroutines,
      byState: new Map([["running", 1]]),
      threads: 4,
      values: new Map([
        ["gc_cycles_total", cycles],
        ["memstats_alloc_bytes", 100],
      ]),
      pauses: [],
    });
    const ledger = new GoLedger<string>();
    const one = { pid: 1, startTicks: 1, execMark: 0 };
    const two = { pid: 2, startTicks: 1, execMark: 0 };
    let totals = ledger
      .add([
        [one, "g", facts(3, 10)],
        [two, "g", facts(4, 20)],
      ])
      .get("g")!;
    assert.deepEqual([totals.goroutines, totals.processes, totals.threads], [7, 2, 8]);
    assert.deepEqual([totals.values.get("gc_cycles_total"), totals.values.get("memstats_alloc_bytes")], [30, 200]);
    totals = ledger.add([[one, "g", facts(3, 12)]]).get("g")!;
    assert.deepEqual([totals.values.get("gc_cycles_total"), totals.values.get("memstats_alloc_bytes")], [32, 100]);
  });
});
