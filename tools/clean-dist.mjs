// Removes compiled files whose source has gone, so that a renamed test never runs twice.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

const root = new URL("..", import.meta.url).pathname;
for (const entry of existsSync(join(root, "dist")) ? readdirSync(join(root, "dist"), { recursive: true }) : []) {
  const path = String(entry);
  const source = path.replace(/(\.d\.(c?)ts|\.(c?)js)(\.map)?$/, ".$2$3ts");
  if (source !== path && !existsSync(join(root, source))) rmSync(join(root, "dist", path), { force: true });
}
