/** The shipped unit and DaemonSet: their capabilities, user and read-only root are enough. Replayed with setpriv and unshare. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parse, parseAllDocuments } from "yaml";
import { packageRoot } from "../../src/base/package-root.ts";
import { parseRuleFile } from "../../src/exporter/config.ts";
import { cliPath } from "../support/cli.ts";
import { freePort, type RunningProgram, samplesOf, scrape, startListening } from "./running.ts";

const read = (path: string): string => readFileSync(join(packageRoot, "packaging", path), "utf8");

/** Starts the exporter with exactly these capabilities. */
async function startWith(
  capabilities: readonly string[],
  uid: number,
  wrap: readonly string[] = [],
): Promise<RunningProgram> {
  const list = ["-all", ...capabilities.map((name) => `+${name.toLowerCase().replace(/^cap_/, "")}`)].join(",");
  const ambient = uid === 0 ? [] : [`--ambient-caps=${list}`];
  const port = await freePort();
  const setpriv = [
    "setpriv",
    `--reuid=${uid}`,
    `--regid=${uid}`,
    "--clear-groups",
    `--bounding-set=${list}`,
    `--inh-caps=${list}`,
    ...ambient,
    "--no-new-privs",
  ];
  const words = [
    ...wrap,
    ...setpriv,
    process.execPath,
    cliPath,
    "exporter",
    "-procnames",
    "node",
    "-children=false",
    `-web.listen-address=127.0.0.1:${port}`,
  ];
  return await startListening(words[0]!, words.slice(1), port);
}

async function check(exporter: RunningProgram): Promise<void> {
  const samples = samplesOf(await scrape(exporter.url));
  const info = [...samples.keys()].find((key) => key.startsWith("procscope_exporter_source_info"))!;
  assert.match(info, /source="bpf"/, exporter.log());
  assert.match(info, /exits="(bpf|taskstats)"/, exporter.log());
  const open = samples.get('namedprocess_namegroup_open_filedesc{groupname="node"}')!;
  const procs = samples.get('namedprocess_namegroup_num_procs{groupname="node"}')!;
  assert.ok(procs >= 2 && open > procs * 5, `${open} files of ${procs} processes`);
  assert.equal(samples.get("namedprocess_scrape_partial_errors"), 0);
}

const canReplay = process.getuid?.() === 0;

describe("packaging", () => {
  it("the unit's capabilities are enough as another user", async (t) => {
    if (!canReplay) return t.skip("setpriv needs root");
    const unit = read("systemd/procscope-exporter.service");
    const bounding = /^CapabilityBoundingSet=(.*)$/m.exec(unit)![1]!;
    assert.equal(/^AmbientCapabilities=(.*)$/m.exec(unit)![1], bounding);
    assert.match(unit, /^NoNewPrivileges=yes$/m);
    await using exporter = await startWith(bounding.split(" "), 65_534);
    await check(exporter);
  });

  it("the DaemonSet's capabilities are enough with a read-only root, and it is not privileged", async (t) => {
    const documents = parseAllDocuments(read("kubernetes/daemonset.yaml")).map((document) => document.toJS());
    const daemonSet = documents.find((document) => document.kind === "DaemonSet");
    const { securityContext, args } = daemonSet.spec.template.spec.containers[0];
    assert.equal(securityContext.privileged, undefined);
    assert.deepEqual(securityContext.capabilities.drop, ["ALL"]);
    assert.ok(args.includes("-web.listen-address=:9256"));
    const groups = documents.find((document) => document.kind === "ConfigMap").data["groups.yml"];
    assert.equal((await parseRuleFile(groups)).length, 1);
    if (!canReplay) return t.skip("setpriv needs root");
    const readOnly = [
      "unshare",
      "-m",
      "sh",
      "-c",
      'mount --make-rprivate / && mount -o remount,bind,ro / && exec "$@"',
      "sh",
    ];
    await using exporter = await startWith(securityContext.capabilities.add, securityContext.runAsUser, readOnly);
    await check(exporter);
  });

  it("without any capability it goes on by procfs and says what is missing", async (t) => {
    if (!canReplay) return t.skip("setpriv needs root");
    await using exporter = await startWith([], 65_534);
    const samples = samplesOf(await scrape(exporter.url));
    const info = [...samples.keys()].find((key) => key.startsWith("procscope_exporter_source_info"))!;
    assert.match(info, /exits="none",source="procfs-gated"/);
    assert.match(exporter.log(), /short-lived processes are missed/);
    assert.ok(samples.get('namedprocess_namegroup_num_procs{groupname="node"}')! >= 2);
    assert.ok(samples.get('namedprocess_namegroup_memory_bytes{groupname="node",memtype="resident"}')! > 30e6);
    assert.ok(samples.get("namedprocess_scrape_partial_errors")! > 0);
  });

  it("unit, image and DaemonSet listen on all interfaces; the files hold together", async () => {
    for (const file of ["systemd/procscope-exporter.service", "Dockerfile", "kubernetes/daemonset.yaml"]) {
      assert.match(read(file), /-web\.listen-address=:9256/, file);
    }
    assert.equal((await parseRuleFile(read("groups.yml"))).length, 1);
    assert.ok(parse(read("prometheus/rules.yml")).groups[0].rules.length > 5);
  });
});
