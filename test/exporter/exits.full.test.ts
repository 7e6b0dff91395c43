/** Processes that live between two scrapes. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";
import { ProcscopeError } from "../../src/base/errors.ts";
import { openExitSource } from "../../src/proc/sources/exits.ts";
import { Folder, samplesOf, scrape, startExporter } from "./running.ts";

/** Why exit records cannot be had here, or undefined. */
function problem(): string | undefined {
  try {
    openExitSource().close();
    return undefined;
  } catch (error) {
    if (error instanceof ProcscopeError) return error.message;
    throw error;
  }
}

const burner = `
#include <time.h>
#include <stdlib.h>
#include <signal.h>
int main(int n, char **v) {
  struct timespec t;
  do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); while (t.tv_sec * 1000000000L + t.tv_nsec < 10000000L);
  if (n > 1) raise(atoi(v[1]));
  return 3;
}
`;

/** An idle CPU may hold back the end of the last process for a while: waits until a counter has reached a value. */
async function samplesOnce(url: string, name: string, value: number): Promise<Map<string, number>> {
  for (const end = Date.now() + 15_000; ; ) {
    const samples = samplesOf(await scrape(url));
    if ((samples.get(name) ?? 0) >= value || Date.now() > end) return samples;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

describe("short-lived processes", () => {
  it("300 of 10 ms, one after another: all of their CPU, their exit codes and starts", async (t) => {
    const reason = problem();
    if (reason) return t.skip(reason);
    using folder = new Folder();
    const program = `${folder.path}/shortlived`;
    execFileSync("cc", ["-O1", "-o", program, folder.file("b.c", burner)]);
    const config = folder.file(
      "g.yml",
      `process_names: [{name: short, exe: [${program}]}, {name: rest, cmdline: [.+]}]`,
    );
    await using exporter = await startExporter("-config.path", config);
    await scrape(exporter.url);
    const script = `for i in $(seq 300); do ${program}; done; ${program} 9; times`;
    const child = spawn("bash", ["-c", script], { stdio: ["ignore", "pipe", "ignore"] });
    let times = "";
    child.stdout.on("data", (data) => {
      times += data;
    });
    await once(child, "close");
    // The second line of `times`: user and system time of the shell's children.
    const used = [...times.split("\n")[1]!.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
      (s, m) => s + Number(m[1]) * 60 + Number(m[2]),
      0,
    );
    const samples = await samplesOnce(
      exporter.url,
      'procscope_namegroup_exited_processes_total{groupname="short"}',
      301,
    );
    const cpu = ["user", "system"].reduce(
      (sum, mode) => sum + samples.get(`namedprocess_namegroup_cpu_seconds_total{groupname="short",mode="${mode}"}`)!,
      0,
    );
    // Both are within a tick of 10 ms or so for each process at the very worst, unbiased.
    assert.ok(cpu > used * 0.9 && cpu < used * 1.15, `${cpu} of ${used} s`);
    const own = (name: string, labels = ""): number | undefined =>
      samples.get(`procscope_namegroup_${name}{${labels}groupname="short"}`);
    assert.equal(own("started_processes_total"), 301);
    assert.equal(own("exited_processes_total"), 301);
    assert.equal(samples.get('procscope_namegroup_process_exits_total{code="3",groupname="short",signal=""}'), 300);
    assert.equal(samples.get('procscope_namegroup_process_exits_total{code="",groupname="short",signal="9"}'), 1);
    assert.ok(own("peak_resident_bytes")! > 100_000);
    assert.equal(samples.get("procscope_exporter_exit_records_lost_total"), 0);
  });
});
