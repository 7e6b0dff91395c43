/** Which container a process runs in, as far as the paths of its control groups tell: cgroups(7). */

/** What container engines and Kubernetes call their groups; the identifier has 64 hexadecimal digits. */
const identifier = /(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:\/|$)/;
/** lxc.payload.NAME, lxc/NAME, machine-NAME.scope of systemd-nspawn. */
const named = /\/lxc(?:\.payload[./]|\/)([^/]+)|\/machine-([^/]+)\.scope/;

/** The container's short identifier (12 digits, as `docker ps` shows it) or name, or undefined where there is none. */
export function containerOf(cgroups: readonly string[]): string | undefined {
  for (const path of cgroups) {
    const id = identifier.exec(path)?.[1];
    if (id) return id.slice(0, 12);
  }
  for (const path of cgroups) {
    const match = named.exec(path);
    const name = match?.[1] ?? match?.[2];
    if (name) return name;
  }
  return undefined;
}
