/** The program of the server that fuse-supervisor.ts starts, and starts again. */
import { letNodeEnd } from "../base/clean-exit.ts";
import type { ChildOrder, ChildReport } from "./fuse-supervisor.ts";
import { FuseThreads } from "./fuse-threads.ts";

function report(message: ChildReport): void {
  if (process.connected) process.send?.(message);
}

process.on("exit", letNodeEnd);
process.once("message", async (order: ChildOrder) => {
  try {
    const threads = await FuseThreads.start({
      fd: order.fd,
      tree: order.tree,
      limits: order.limits,
      resend: order.resend,
      log: (message) => report({ kind: "log", message }),
      onInit: (info) => report({ kind: "init", info }),
    });
    report({ kind: "ready" });
    await threads.ended;
    report({ kind: "ended" });
    process.exit(0);
  } catch (error) {
    report({ kind: "log", message: error instanceof Error ? error.message : String(error) });
    // A thread that blocks in read(2) would keep process.exit() waiting for ever.
    setTimeout(() => process.kill(process.pid, "SIGKILL"), 100);
  }
});

// The terminal's Ctrl-C goes to all; the supervisor unmounts, and that is our end.
process.on("SIGINT", () => {});
// There is nothing to save, and a thread that blocks in read(2) lets no other way to end come through.
for (const end of ["SIGTERM", "disconnect"]) process.on(end, () => process.kill(process.pid, "SIGKILL"));
