/**
 * All Go processes of the machine. Whether a program is Go is told from its file's section names, looked at once for each
 * file: a machine full of other processes costs one open and one fstat for each of them. The file is reached through
 * /proc/PID/exe, so deleted programs and those of containers are found as well.
 */
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { basename } from "node:path";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import type { Bytes, Pid, Seconds } from "../base/units.ts";
import { readBootTime } from "../kernel/boot-time.ts";
import { containerOf } from "../kernel/container.ts";
import { readCgroups } from "../kernel/proc-cgroup.ts";
import { defaultProcMount } from "../kernel/proc-file.ts";
import { pageSize, readProcStat, ticksPerSecond } from "../kernel/proc-stat.ts";
import { readProcStatus } from "../kernel/proc-status.ts";
import { UserNames } from "../kernel/users.ts";
import { FileSource } from "../object/byte-source.ts";
import { ElfFile } from "../object/elf.ts";
import type { BuildInfo } from "./build-info.ts";
import { countGoroutines } from "./goroutine-count.ts";
import { GoProcess } from "./process.ts";

export interface GoProcessEntry {
  readonly pid: Pid;
  /** Real user id. */
  readonly uid: number;
  readonly user: string;
  /** The program's file name. */
  readonly name: string;
  /** Its path as the process sees it. */
  readonly exe: string;
  /** Whether that file was deleted or replaced since the start. */
  readonly deleted: boolean;
  /** Without "go" in front: "1.26.8"; undefined where the memory could not be read. */
  readonly goVersion: string | undefined;
  /** The main package's import path. */
  readonly path: string | undefined;
  readonly module: BuildInfo["module"];
  /** How many there are, those of the runtime included; undefined where not asked for or not readable. */
  readonly goroutines: number | undefined;
  readonly residentBytes: Bytes;
  /** Seconds since 1970. */
  readonly startTime: Seconds;
  /** A container's short identifier or name, where its control groups tell one. */
  readonly container: string | undefined;
  /** Why the version or the goroutines are not known. */
  readonly problem: { readonly code: string; readonly message: string } | undefined;
}

export interface GoProcessList {
  readonly processes: readonly GoProcessEntry[];
  /** How many processes could not be looked at: other users', without the right to. */
  readonly denied: number;
}

export interface ListOptions {
  /** Count goroutines, which needs attaching to each process: some milliseconds each. Default true. */
  readonly goroutines?: boolean;
  /** Where procfs is mounted. */
  readonly mount?: string;
}

/** The pids of all Go processes that we may look at. */
export function goProcessIds(mount: string = defaultProcMount): Pid[] {
  return scan(mount).pids;
}

/** All Go processes that we may look at, by pid. One that exits meanwhile is left out. */
export function listGoProcesses(options: ListOptions = {}): GoProcessList {
  const mount = options.mount ?? defaultProcMount;
  const { pids, denied } = scan(mount);
  const users = new UserNames();
  const boot = readBootTime(mount);
  const processes: GoProcessEntry[] = [];
  for (const pid of pids) {
    try {
      processes.push(describe(pid, mount, users, boot, options.goroutines ?? true));
    } catch (error) {
      if (!(error instanceof ProcscopeError) || error.code !== "NO_PROCESS") throw error;
    }
  }
  return { processes, denied };
}

function scan(mount: string): { pids: Pid[]; denied: number } {
  const pids: Pid[] = [];
  let denied = 0;
  for (const name of readdirSync(mount)) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const verdict = isGoProgram(`${mount}/${pid}/exe`);
    if (verdict === true) pids.push(pid);
    else if (verdict === undefined) denied++;
  }
  return { pids: pids.sort((a, b) => a - b), denied };
}

/** By device, inode and size; forgotten all at once when it grows, which a machine's programs never make it. */
const verdicts = new Map<string, boolean>();
const mostVerdicts = 8192;

/** Whether a file is a Go program; undefined where it may not be opened. Kernel threads and zombies have none. */
export function isGoProgram(path: string): boolean | undefined {
  try {
    using file = FileSource.open(path);
    const key = `${file.device}:${file.inode}:${file.size}`;
    let verdict = verdicts.get(key);
    if (verdict === undefined) {
      verdict = hasGoMarks(file);
      if (verdicts.size >= mostVerdicts) verdicts.clear();
      verdicts.set(key, verdict);
    }
    return verdict;
  } catch (error) {
    if (error instanceof ProcscopeError) return error.code === "PERMISSION" ? undefined : false;
    throw error;
  }
}

const goSections = new Set([".go.buildinfo", ".gopclntab", ".data.rel.ro.gopclntab", ".note.go.buildid"]);
const buildInfoMagic = Buffer.from("\xff Go buildinf:", "latin1");
/** How much of a file without section headers is searched. */
const mostSearched: Bytes = 64 << 20;

function hasGoMarks(file: FileSource): boolean {
  let elf: ElfFile;
  try {
    elf = new ElfFile(file);
  } catch {
    return false;
  }
  if (elf.sections.length > 0) return elf.sections.some((section) => goSections.has(section.name));
  // Without section headers: the linker puts the build information at the start of the writable data.
  return elf.segments.some((segment) => {
    if (!segment.writable) return false;
    const bytes = file.read(segment.offset, Math.min(segment.fileSize, mostSearched));
    return bytes?.includes(buildInfoMagic) ?? false;
  });
}

function describe(pid: Pid, mount: string, users: UserNames, boot: Seconds, goroutines: boolean): GoProcessEntry {
  const stat = readProcStat(pid, mount);
  const uid = readProcStatus(pid, mount).uids[0] ?? -1;
  return {
    pid,
    uid,
    user: users.name(uid),
    ...programOf(pid, mount),
    ...insideOf(pid, goroutines && mount === defaultProcMount),
    residentBytes: stat.residentPages * pageSize,
    startTime: boot + stat.startTicks / ticksPerSecond,
    container: containerOf(readCgroups(`${mount}/${pid}`) ?? []),
  };
}

/** The kernel marks a file that has no name any more by " (deleted)", which may also be part of a name. */
function programOf(pid: Pid, mount: string): Pick<GoProcessEntry, "name" | "exe" | "deleted"> {
  let link: string;
  try {
    link = readlinkSync(`${mount}/${pid}/exe`);
  } catch (error) {
    throw new ProcscopeError("NO_PROCESS", `no process ${pid}, or it exited: ${errnoOf(error)}`);
  }
  const deleted = link.endsWith(" (deleted)") && !existsSync(`${mount}/${pid}/root${link}`);
  const exe = deleted ? link.slice(0, -" (deleted)".length) : link;
  return { name: basename(exe), exe, deleted };
}

type Inside = Pick<GoProcessEntry, "goVersion" | "path" | "module" | "goroutines" | "problem">;

function insideOf(pid: Pid, count: boolean): Inside {
  let known: Omit<Inside, "problem"> = {
    goVersion: undefined,
    path: undefined,
    module: undefined,
    goroutines: undefined,
  };
  try {
    using process = GoProcess.attach(pid);
    const { version, build } = process.info;
    known = { ...known, goVersion: version.text.replace(/^go/, ""), path: build.path, module: build.module };
    if (count) known = { ...known, goroutines: countGoroutines(process.runtime) };
    return { ...known, problem: undefined };
  } catch (error) {
    if (!(error instanceof ProcscopeError) || error.code === "NO_PROCESS") throw error;
    return { ...known, problem: { code: error.code, message: error.message } };
  }
}
