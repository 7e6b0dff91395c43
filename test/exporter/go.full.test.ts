/** What is inside Go processes, against what they say of themselves. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { cliPath } from "../support/cli.ts";
import { Folder, samplesOf, scrape, startExporter } from "./running.ts";

const program = `package main
import ("fmt"; "os"; "runtime"; "strconv"; "sync"; "time")
func main() {
  n, _ := strconv.Atoi(os.Args[1])
  block := make(chan int)
  var lock sync.Mutex
  lock.Lock()
  for i := 0; i < n; i++ { go func() { <-block }() }
  go func() { lock.Lock() }()
  var kept [][]byte
  for i := 0; i < 100; i++ { kept = append(kept, make([]byte, 100000)) }
  runtime.GC(); runtime.GC()
  var m runtime.MemStats
  runtime.ReadMemStats(&m)
  fmt.Println(runtime.NumGoroutine(), m.HeapAlloc, m.NumGC, m.Mallocs, runtime.Version())
  time.Sleep(time.Hour)
  runtime.KeepAlive(kept)
}
`;

async function firstLine(child: ChildProcess): Promise<string[]> {
  let text = "";
  for await (const data of child.stdout!) {
    text += data;
    if (text.endsWith("\n")) break;
  }
  return text.trim().split(" ");
}

describe("Go inside", () => {
  it("goroutines by state, threads, memory and version of a group's processes; counters stay when one ends", async (t) => {
    if (spawnSync("go", ["version"]).error) return t.skip("no Go toolchain to build the target with");
    using folder = new Folder();
    // Of this run: another may be under way beside it.
    const name = `gotarget${process.pid}`;
    folder.file("main.go", program);
    folder.file("go.mod", "module gotarget\n\ngo 1.20\n");
    execFileSync("go", ["build", "-ldflags=-s -w", "-o", name, "."], { cwd: folder.path, stdio: "pipe" });
    const start = (n: number): ChildProcess =>
      spawn(`${folder.path}/${name}`, [String(n)], { stdio: ["ignore", "pipe", "inherit"] });
    const children = [start(40), start(2000)];
    try {
      const said = await Promise.all(children.map(firstLine));
      const sum = (i: number): number => said.reduce((s, words) => s + Number(words[i]), 0);
      await using exporter = await startExporter("-procnames", name, "--go=full", "--go-budget=5s");
      const samples = samplesOf(await scrape(exporter.url));
      const value = (series: string, labels = ""): number | undefined =>
        samples.get(`${series}{groupname="${name}"${labels}}`);
      assert.equal(value("procscope_namegroup_go_processes"), 2);
      assert.equal(value("go_goroutines"), sum(0));
      assert.equal(value("procscope_namegroup_go_goroutines_by_state", ',state="chan receive"'), 40 + 2000);
      const locked = [...samples].filter(([key]) => /by_state.*(sync\.Mutex\.Lock|semacquire)/.test(key));
      assert.deepEqual(
        locked.map(([, count]) => count),
        [2],
      );
      assert.ok(value("go_threads")! >= 6);
      assert.equal(value("go_info", `,version="${said[0]![4]}"`), 1);
      assert.ok(Math.abs(value("go_memstats_heap_alloc_bytes")! - sum(1)) < 200_000);
      assert.equal(value("go_gc_duration_seconds_count"), sum(2));
      assert.ok(Math.abs(value("go_memstats_mallocs_total")! - sum(3)) < 200);
      assert.ok(value("go_gc_duration_seconds", ',quantile="1"')! > 0);
      children[1]!.kill("SIGKILL");
      await new Promise((resolve) => children[1]!.once("exit", resolve));
      await new Promise((resolve) => setTimeout(resolve, 100));
      const later = samplesOf(await scrape(exporter.url));
      assert.equal(later.get(`go_goroutines{groupname="${name}"}`), Number(said[0]![0]));
      assert.ok(later.get(`go_memstats_mallocs_total{groupname="${name}"}`)! >= value("go_memstats_mallocs_total")!);
      const groups = execFileSync(process.execPath, [cliPath, "groups", "--procnames", name, "--json"], {
        encoding: "utf8",
      });
      const { groups: shown } = JSON.parse(groups) as { groups: { name: string; goroutines?: number }[] };
      assert.equal(shown.find((group) => group.name === name)?.goroutines, Number(said[0]![0]));
    } finally {
      for (const child of children) child.kill("SIGKILL");
    }
  });
});
