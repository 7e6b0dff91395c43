/**
 * Loaded into a measured Node program (--require: --import would bring in Node's module loader, which costs a single
 * CommonJS file more than its own start): at its end it writes what it used to the file BENCH_USAGE.
 */
const { writeFileSync } = require("node:fs") as typeof import("node:fs");

const path = process.env["BENCH_USAGE"];
if (path !== undefined) {
  process.on("exit", () => {
    const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
    writeFileSync(path, JSON.stringify({ cpuMs: (userCPUTime + systemCPUTime) / 1000, peakMb: maxRSS / 1024 }));
  });
}
