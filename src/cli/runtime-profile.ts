/** The profiles that a Go runtime keeps of itself, for `procscope profile KIND`. */
import { readlinkSync } from "node:fs";
import type { Pid } from "../base/units.ts";
import type { Profile } from "../profile/model.ts";
import { attachTarget } from "./attach-target.ts";
import { notice } from "./output.ts";
import type { Target } from "./target.ts";

export type RuntimeKind = "heap" | "allocs" | "block" | "mutex" | "goroutine" | "threadcreate";

/** Reads the profile and says on standard error how it is sampled. Throws UNSUPPORTED_TARGET where there is none. */
export async function runtimeProfile(target: Target, kind: RuntimeKind): Promise<Profile> {
  using process = await attachTarget(target);
  const program = programOf(target.pid);
  if (kind === "goroutine") {
    const { GoroutineReader } = await import("../go/goroutine-reader.ts");
    const { goroutineProfile } = await import("../views/goroutine-profile.ts");
    const { newTally } = await import("../views/dump.ts");
    const subject = { pid: target.pid, goVersion: process.info.version.text, program, header: {} };
    return goroutineProfile(new GoroutineReader(process.runtime), { system: false }, newTally(), subject);
  }
  const { runtimeProfile: read } = await import("../views/runtime-profile.ts");
  const { profile, notes } = read(process.runtime, kind, program);
  for (const note of notes) notice(note);
  return profile;
}

function programOf(pid: Pid): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, "");
  } catch {
    return "";
  }
}
