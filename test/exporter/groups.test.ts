/** `procscope groups`, and the exporter's own flags. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { cliPath } from "../support/cli.ts";
import { Folder, samplesOf, scrape, startExporter } from "./running.ts";

function groups(...words: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [cliPath, "groups", ...words], { encoding: "utf8" });
}

describe("procscope groups", () => {
  const folder = new Folder();
  // Of this run: another may be under way beside it.
  const outer = `procscope-outer-${process.pid}`;
  let parent: ChildProcess;
  let child = 0;
  let config = "";
  before(async () => {
    config = folder.file(
      "g.yml",
      `process_names: [{name: never, comm: [no-such]}, {name: 'outer-{{.Comm}}', cmdline: [${outer}]}]`,
    );
    // The inner one is named by no rule: its command line lacks the word.
    parent = spawn("bash", ["-c", "sleep 1000 & echo $!; wait", outer], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    child = Number(await new Promise((resolve) => parent.stdout!.once("data", resolve)));
    await delay(100);
  });
  after(() => {
    parent.kill("SIGKILL");
    process.kill(child, "SIGKILL");
    folder[Symbol.dispose]();
  });

  it("explains a process that a rule names, and one that has its ancestor's group", () => {
    const named = groups("--config", config, "--explain", String(parent.pid));
    assert.equal(named.status, 0);
    assert.match(named.stdout, /process_names\[0\]: no match\n {4}no {3}comm is one of no-such/);
    assert.match(named.stdout, /process_names\[1\]: matched, group outer-bash/);
    const inherited = groups("--config", config, "--explain", String(child));
    assert.match(inherited.stdout, new RegExp(`It counts for group outer-bash, as its ancestor ${parent.pid} does`));
    const alone = groups("--config", config, "--explain", String(child), "--children=false");
    assert.match(alone.stdout, /belongs to no group/);
    const json = JSON.parse(groups("--config", config, "--explain", String(child), "--json").stdout);
    assert.equal(json.schema, "procscope/groups/1");
    assert.deepEqual([json.pid, json.explanation.inherited, json.explanation.group.name], [child, true, "outer-bash"]);
  });

  it("shows groups once, or again and again as JSON lines", () => {
    const once = groups("--config.path", config);
    assert.match(once.stdout, /^GROUP +PROCS +THREADS +CPU%/);
    assert.match(once.stdout, /^outer-bash +2 +2 /m);
    const lines = groups("--config", config, "--interval", "100ms", "--count", "3", "--json").stdout.trim().split("\n");
    assert.equal(lines.length, 3);
    for (const line of lines) {
      const { groups: shown } = JSON.parse(line);
      assert.deepEqual(
        shown.map((group: { name: string; processes: number }) => [group.name, group.processes]),
        [["outer-bash", 2]],
      );
    }
  });

  it("ends with the status of the mistake", () => {
    assert.equal(groups("--explain", "4194400").status, 4);
    assert.equal(groups("--explain", "x").status, 2);
    assert.equal(groups("--config", `${folder.path}/none`).status, 1);
    assert.equal(groups("--config", folder.file("bad.yml", "process_names: [{}]")).status, 2);
    assert.equal(groups("--procnames", "a", "--config", config).status, 2);
  });

  it("the exporter's labels, zero rows and top groups", async () => {
    {
      await using exporter = await startExporter(
        "-config.path",
        config,
        "--zero-rows",
        "--label=user",
        "--label",
        "x=a-{{.Comm}}",
      );
      const samples = samplesOf(await scrape(exporter.url));
      const key = `namedprocess_namegroup_num_procs{groupname="outer-bash",user="${process.env["USER"] ?? "root"}",x="a-bash"}`;
      assert.equal(samples.get(key.replace(/user="[^"]*"/, 'user="root"')) ?? samples.get(key), 2);
    }
    {
      await using exporter = await startExporter("-config.path", config, "--zero-rows");
      const samples = samplesOf(await scrape(exporter.url));
      assert.equal(samples.get('namedprocess_namegroup_num_procs{groupname="never"}'), 0);
      assert.equal(samples.get('namedprocess_namegroup_oldest_start_time_seconds{groupname="never"}'), undefined);
    }
    {
      await using exporter = await startExporter(
        "-procnames",
        "node,bash,sh,sleep",
        "--top",
        "1",
        "--top-by",
        "memory",
        "-children=false",
      );
      const procs = [...samplesOf(await scrape(exporter.url))].filter(([key]) =>
        key.startsWith("namedprocess_namegroup_num_procs"),
      );
      assert.equal(procs.length, 2);
      assert.ok(procs[1]![0].includes('groupname="other"') && procs[1]![1] >= 2);
    }
  });
});
