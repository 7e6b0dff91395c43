/** Our side of bench/fuse.ts: node fuse-serve.js DIR */
import { FuseServer } from "../src/kernel/fuse-server.ts";

const server = await FuseServer.start({
  directory: process.argv[2]!,
  tree: { module: new URL("./fuse-tree.js", import.meta.url).href },
  log: console.error,
});
process.on("SIGTERM", () => void server.stop());
console.log("ready");
