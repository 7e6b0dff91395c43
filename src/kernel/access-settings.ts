/** Settings of the kernel that decide who may look into whom: yama, perf events, BPF, hidepid. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface AccessSettings {
  /** kernel.yama.ptrace_scope 0 to 3; undefined where the kernel has no Yama. */
  readonly ptraceScope: number | undefined;
  /** kernel.perf_event_paranoid: -1 to 2, 3 and 4 with patches of Debian and Ubuntu; undefined without perf events. */
  readonly perfEventParanoid: number | undefined;
  /** kernel.unprivileged_bpf_disabled 0 to 2; undefined without BPF. */
  readonly unprivilegedBpfDisabled: number | undefined;
  /** The hidepid option of the procfs at /proc: "off", "noaccess", "invisible", "ptraceable". */
  readonly hidepid: "off" | "noaccess" | "invisible" | "ptraceable";
}

/** Reads them below `root`, which is /proc/sys except where another machine's settings are looked at. */
export function readAccessSettings(root = "/proc/sys"): AccessSettings {
  return {
    ptraceScope: setting(root, "kernel/yama/ptrace_scope"),
    perfEventParanoid: setting(root, "kernel/perf_event_paranoid"),
    unprivilegedBpfDisabled: setting(root, "kernel/unprivileged_bpf_disabled"),
    hidepid: readHidepid(root),
  };
}

function setting(root: string, path: string): number | undefined {
  const value = Number.parseInt(readOrEmpty(join(root, path)), 10);
  return Number.isNaN(value) ? undefined : value;
}

const hidepidNames: Record<string, AccessSettings["hidepid"]> = {
  "1": "noaccess",
  noaccess: "noaccess",
  "2": "invisible",
  invisible: "invisible",
  "4": "ptraceable",
  ptraceable: "ptraceable",
};

/** proc(5): the option stands among the mount's own or the superblock's. */
function readHidepid(root: string): AccessSettings["hidepid"] {
  const lines = readOrEmpty(join(root, "../self/mountinfo")).split("\n");
  const line = lines.findLast((one) => one.split(" ")[4] === "/proc" && / - proc /.test(one)) ?? "";
  return hidepidNames[/\bhidepid=(\w+)/.exec(line)?.[1] ?? ""] ?? "off";
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
