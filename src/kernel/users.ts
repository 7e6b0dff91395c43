/** User names by id, from /etc/passwd: passwd(5). Other name services (LDAP, systemd) are not asked. */
import { readFileSync } from "node:fs";

/** Looks ids up in the file of one root, once each; what is not there is its number. */
export class UserNames {
  private names: Map<number, string> | undefined;
  private readonly path: string;

  constructor(path = "/etc/passwd") {
    this.path = path;
  }

  name(uid: number): string {
    this.names ??= this.load();
    let name = this.names.get(uid);
    if (name === undefined) {
      name = String(uid);
      this.names.set(uid, name);
    }
    return name;
  }

  private load(): Map<number, string> {
    const names = new Map<number, string>();
    let text = "";
    try {
      text = readFileSync(this.path, "utf8");
    } catch {
      // No passwd file, as in a container from scratch: numbers it is.
    }
    for (const line of text.split("\n")) {
      const [name, , id] = line.split(":");
      if (name && id && /^\d+$/.test(id) && !names.has(Number(id))) names.set(Number(id), name);
    }
    return names;
  }
}
