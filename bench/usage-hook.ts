/** Loaded into a measured Node program (--import): at its end it writes what it used to the file BENCH_USAGE. */
import { writeFileSync } from "node:fs";

const path = process.env["BENCH_USAGE"];
if (path !== undefined) {
  process.on("exit", () => {
    const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
    writeFileSync(path, JSON.stringify({ cpuMs: (userCPUTime + systemCPUTime) / 1000, peakMb: maxRSS / 1024 }));
  });
}
