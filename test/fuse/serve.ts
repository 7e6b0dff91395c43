/** A server process for the tests: serves the demo tree at a folder until it is ended in one of many ways. */
import type { MountMethod } from "../../src/kernel/fuse-mount.ts";
import { FuseServer } from "../../src/kernel/fuse-server.ts";
import { FuseSupervisor } from "../../src/kernel/fuse-supervisor.ts";
import type { DemoOptions } from "./demo-tree.ts";

export interface ServeOrder {
  readonly directory: string;
  readonly method?: MountMethod;
  readonly supervise?: boolean;
  readonly tree?: DemoOptions;
  readonly limits?: { readonly fileLimit?: number; readonly totalLimit?: number };
  /** What ends the process once a line comes in. */
  readonly end?: "exit" | "uncaught";
  /** Kill the watcher, as if it had never been there. */
  readonly unwatched?: boolean;
}

const order = JSON.parse(process.argv[2]!) as ServeOrder;
const options = {
  directory: order.directory,
  method: order.method,
  tree: { module: new URL("./demo-tree.js", import.meta.url).href, options: order.tree },
  limits: order.limits ?? {},
  log: (message: string) => console.error(`log: ${message}`),
};

process.env["FIRST_SERVER"] = "yes";
const server = order.supervise ? await FuseSupervisor.start(options) : await FuseServer.start(options);
process.env["FIRST_SERVER"] = "no";

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, async () => {
    await server.stop();
    process.exit(0);
  });
}
server.ended.then(() => console.log("ended"));

process.stdin.on("data", async (data) => {
  const [word, path] = data.toString().trim().split(" ");
  if (word === "exit") process.exit(7);
  if (word === "throw") throw new Error("thrown on purpose");
  if (word === "read") {
    // The server's own main thread, blocked in read(2) of its own mount.
    const { readFileSync } = await import("node:fs");
    console.log(`own: ${readFileSync(path!, "utf8").trim()}`);
  }
  if (word === "held" && server instanceof FuseServer) console.log(`held: ${JSON.stringify(await server.held())}`);
});
console.log(`ready ${server instanceof FuseSupervisor ? server.serverPid : process.pid}`);
