/** The exporter about itself: process_* of its own process, its version, how it scrapes. */

import { countFds } from "../kernel/proc-fds.ts";
import { defaultProcMount, ProcBuffer } from "../kernel/proc-file.ts";
import { readOpenFileLimit } from "../kernel/proc-limits.ts";
import { newProcStat, pageSize, parseProcStat, ticksPerSecond } from "../kernel/proc-stat.ts";
import { type ExpositionWriter, labelSet, metric } from "./exposition.ts";

const cpu = metric("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.");
const openFds = metric("process_open_fds", "gauge", "Number of open file descriptors.");
const maxFds = metric("process_max_fds", "gauge", "Maximum number of open file descriptors.");
const resident = metric("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
const virtual = metric("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.");
const virtualMax = metric(
  "process_virtual_memory_max_bytes",
  "gauge",
  "Maximum amount of virtual memory available in bytes.",
);
const start = metric("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.");
const buildInfo = metric(
  "process_exporter_build_info",
  "gauge",
  "A metric with a constant '1' value labeled by version, revision, branch, goversion from which process_exporter was built, and the goos and goarch for the build.",
);

/** process_*: read from this process's own procfs, not from the mount that is exported. */
export function renderOwnProcess(writer: ExpositionWriter, bootTime: number): void {
  const buffer = new ProcBuffer();
  const stat = newProcStat();
  const dir = `${defaultProcMount}/self`;
  const usage = process.cpuUsage();
  writer.single(cpu, (usage.user + usage.system) / 1e6);
  const open = countFds(dir, false);
  // One of them is the directory that is being listed.
  if (open > 0) writer.single(openFds, open - 1);
  const limit = readOpenFileLimit(dir, buffer);
  if (limit !== undefined) writer.single(maxFds, limit);
  if (!buffer.readOnce(`${dir}/stat`) || !parseProcStat(buffer.data, buffer.length, stat)) return;
  writer.single(resident, stat.residentPages * pageSize);
  writer.single(virtual, stat.virtualBytes);
  writer.single(virtualMax, 2 ** 64);
  writer.single(start, bootTime + stat.startTicks / ticksPerSecond);
}

/** process_exporter_build_info with the labels that dashboards know; there is no Go in this build. */
export function renderBuildInfo(writer: ExpositionWriter, version: string): void {
  writer.family(buildInfo);
  writer.sample(
    labelSet({
      branch: "",
      goarch: process.arch === "x64" ? "amd64" : process.arch,
      goos: process.platform,
      goversion: "",
      revision: "",
      tags: "procscope",
      version,
    }),
    1,
  );
}
