/** A real Prometheus scrapes the exporter and a query gives the right value; rules and dashboard name series that exist. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { packageRoot } from "../../src/base/package-root.ts";
import { byName, Folder, freePort, scrape, startExporter, startListening, typesOf } from "./running.ts";

interface Answer {
  readonly status: string;
  readonly data: {
    readonly result: readonly { readonly metric: Record<string, string>; readonly value: [number, string] }[];
  };
}

describe("Prometheus", () => {
  it("scrapes the exporter; queries give what the machine does", async () => {
    using folder = new Folder();
    // Of this run: another may be under way beside it.
    const word = `procscope-prom-${process.pid}`;
    const sleepers = Array.from({ length: 4 }, () => spawn("bash", ["-c", 'exec -a "$0" sleep 1000', word]));
    try {
      await using exporter = await startExporter(
        "-config.path",
        folder.file("g.yml", `process_names: [{name: prom, cmdline: [${word}]}, {name: node, comm: [node]}]`),
      );
      const port = await freePort();
      const config = folder.file(
        "prometheus.yml",
        `global: {scrape_interval: 1s}
rule_files: [${join(packageRoot, "packaging/prometheus/rules.yml")}]
scrape_configs: [{job_name: procscope, static_configs: [{targets: ["127.0.0.1:${exporter.port}"]}]}]`,
      );
      await using prometheus = await startListening(
        "prometheus",
        [
          `--config.file=${config}`,
          `--storage.tsdb.path=${folder.path}/data`,
          `--web.listen-address=127.0.0.1:${port}`,
        ],
        port,
      );
      const query = async (expression: string): Promise<Answer["data"]["result"]> => {
        const url = `${prometheus.url}/api/v1/query?query=${encodeURIComponent(expression)}`;
        const answer = (await (await fetch(url)).json().catch(() => undefined)) as Answer | undefined;
        return answer?.status === "success" ? answer.data.result : [];
      };
      let procs = await query('namedprocess_namegroup_num_procs{groupname="prom"}');
      for (let i = 0; i < 100 && procs.length === 0; i++) {
        await delay(200);
        procs = await query('namedprocess_namegroup_num_procs{groupname="prom"}');
      }
      assert.equal(procs[0]?.value[1], "4");
      // A scrape has the interval's second to be done, on a crowded machine too.
      for (let i = 0; i < 50 && (await query("up == 1")).length === 0; i++) await delay(200);
      assert.equal((await query("up"))[0]?.value[1], "1");
      const resident = await query('sum(namedprocess_namegroup_memory_bytes{groupname="node",memtype="resident"})');
      assert.ok(Number(resident[0]?.value[1]) > 30e6);
      // Prometheus asks for OpenMetrics: the names without _total must have survived that.
      assert.equal((await query("namedprocess_scrape_errors"))[0]?.value[1], "0");
      for (
        let i = 0;
        i < 50 && (await query("rate(namedprocess_namegroup_cpu_seconds_total[10s])")).length === 0;
        i++
      ) {
        await delay(200);
      }
      const rate = await query('sum(rate(namedprocess_namegroup_cpu_seconds_total{groupname="prom"}[10s]))');
      assert.ok(Number(rate[0]?.value[1]) < 0.05);
    } finally {
      for (const child of sleepers) child.kill("SIGKILL");
    }
  });

  it("promtool accepts the rules, and every series that rules and dashboard name exists", async () => {
    const rules = join(packageRoot, "packaging/prometheus/rules.yml");
    execFileSync("promtool", ["check", "rules", rules], { stdio: "pipe" });
    using folder = new Folder();
    await using exporter = await startExporter("-config.path", folder.file("g.yml", byName));
    const families = typesOf(await scrape(exporter.url));
    const dashboard = readFileSync(join(packageRoot, "packaging/grafana/procscope-groups.json"), "utf8");
    const { panels } = JSON.parse(dashboard) as { panels: { targets: { expr: string }[] }[] };
    assert.ok(panels.length >= 10);
    for (const text of [readFileSync(rules, "utf8").replace(/record: .*/g, ""), dashboard]) {
      const names = new Set(text.match(/\b(namedprocess_|procscope_(namegroup|exporter)_|go_goroutines)\w*/g));
      // What only Go processes and machines with exit records have is not in every scrape.
      const optional = /^(go_|procscope_namegroup_(go_|exit_|process_exits)|procscope_exporter_exit_)/;
      for (const name of names) assert.ok(families.has(name) || optional.test(name), name);
    }
  });
});
