/**
 * Mounting a FUSE file system and taking it down again, without libfuse. Three ways:
 *
 * - `syscall`: mount(2) through native functions; root (CAP_SYS_ADMIN).
 * - `command`: mount(8) with /dev/fuse as its descriptor 3; root, and no native functions at all.
 * - `fusermount`: the set-uid helper fusermount3 sends the descriptor over a socket; any user, native functions needed.
 */
import { spawnSync } from "node:child_process";
import {
  accessSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { errnoOf, ProcscopeError } from "../base/errors.ts";
import { receiveDescriptor, socketPair } from "./descriptor-passing.ts";
import { errnoName, ffiAvailable, lastErrno, libcFunction } from "./ffi.ts";
import { type MountEntry, mountAt } from "./mountinfo.ts";

export type MountMethod = "syscall" | "command" | "fusermount";

/** The type that mountinfo shows; by it stale mounts of ours are known. */
export const mountType = "fuse.procscope";
const source = "procscope";

export interface FuseMount {
  /** /dev/fuse, connected to this mount. */
  readonly fd: number;
  /** Absolute, without symbolic links. */
  readonly directory: string;
  readonly method: MountMethod;
  readonly entry: MountEntry;
}

const MS_RDONLY = 1;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MNT_FORCE = 1;
const MNT_DETACH = 2;

/** Mounts at a folder made ready by {@link prepareMountPoint}. */
export function mountFuse(directory: string, method: MountMethod = chooseMethod()): FuseMount {
  const fd =
    method === "fusermount"
      ? mountByHelper(directory)
      : method === "syscall"
        ? mountBySyscall(directory)
        : mountByCommand(directory);
  const entry = mountAt(directory);
  if (entry === undefined) {
    closeSync(fd);
    throw new ProcscopeError("IO", `${directory} was mounted but is not in /proc/self/mountinfo`);
  }
  return { fd, directory, method, entry };
}

/** Root mounts by itself, through native functions where there are any; others need fusermount3. */
export function chooseMethod(): MountMethod {
  if (process.geteuid?.() !== 0) return "fusermount";
  return ffiAvailable().available ? "syscall" : "command";
}

/**
 * Makes a folder ready to be mounted over: creates it where its parent is there, takes down a mount of ours whose server
 * died, refuses what would hide something. Returns its path without symbolic links.
 */
export function prepareMountPoint(wanted: string): string {
  const directory = realPlace(wanted);
  const mounted = mountAt(directory);
  if (mounted !== undefined) replaceStale(directory, mounted);
  try {
    if (!statSync(directory).isDirectory()) {
      throw new ProcscopeError("IO", `${directory} is not a folder`, { hint: "give a folder to mount at" });
    }
    if (readdirSync(directory).length > 0) {
      throw new ProcscopeError("IO", `${directory} is not empty; mounting there would hide what it holds`, {
        hint: "give an empty folder, or one that does not exist yet",
      });
    }
    accessSync(directory);
  } catch (error) {
    if (error instanceof ProcscopeError) throw error;
    if (errnoOf(error) !== "ENOENT") throw ioError(`cannot use ${directory}`, error);
    create(directory);
  }
  return directory;
}

/** Takes the mount down if it is still there: aborts what hangs in it, then detaches it. True where nothing is left. */
export function unmountFuse(mount: Pick<FuseMount, "directory" | "entry">): boolean {
  const now = mountAt(mount.directory);
  // Not ours any more: somebody else has unmounted it, and perhaps mounted another there.
  if (now?.id !== mount.entry.id || now.type !== mountType) return true;
  return detach(mount.directory, mount.entry);
}

function detach(directory: string, entry: MountEntry): boolean {
  if (process.geteuid?.() === 0) {
    if (ffiAvailable().available) {
      const umount2 = libcFunction<(path: string, flags: number) => number>("int umount2(const char *path, int flags)");
      if (umount2(directory, MNT_FORCE | MNT_DETACH) === 0) return true;
    }
    if (spawnSync("umount", ["-i", "-f", "-l", directory], { stdio: "ignore" }).status === 0) return true;
  }
  abortConnection(entry);
  return spawnSync("fusermount3", ["-u", "-z", "--", directory], { stdio: "ignore" }).status === 0;
}

/**
 * Wakes the server and every reader of a mount by the control file system, where that is mounted: a helper can only
 * detach, and a detached mount lives on while a file in it is open.
 */
function abortConnection({ minor }: MountEntry): void {
  try {
    writeFileSync(`/sys/fs/fuse/connections/${minor}/abort`, "1");
  } catch {
    // No control file system here: the readers' files stay open until they are closed.
  }
}

function realPlace(wanted: string): string {
  const absolute = resolve(wanted);
  try {
    // The last part is left as it is while a dead mount covers it: looking it up would fail with ENOTCONN.
    const parent = absolute === "/" ? "/" : join(realpathSync(dirname(absolute)), basename(absolute));
    return mountAt(parent) === undefined ? realpathSync(parent) : parent;
  } catch (error) {
    const parent = dirname(absolute);
    if (errnoOf(error) !== "ENOENT") throw ioError(`cannot use ${absolute}`, error);
    try {
      return join(realpathSync(parent), basename(absolute));
    } catch {
      throw new ProcscopeError("IO", `${parent} does not exist, so ${absolute} cannot be created`, {
        hint: `mkdir -p ${parent}`,
        cause: error,
      });
    }
  }
}

function replaceStale(directory: string, mounted: MountEntry): void {
  if (mounted.type !== mountType) {
    throw new ProcscopeError("IO", `something else is mounted at ${directory}: ${mounted.type} (${mounted.source})`, {
      hint: "give another folder",
    });
  }
  try {
    statSync(directory);
  } catch (error) {
    if (errnoOf(error) === "ENOTCONN" && detach(directory, mounted)) return;
    throw ioError(`the mount that a dead procscope left at ${directory} cannot be taken down`, error);
  }
  throw new ProcscopeError("IO", `another procscope serves ${directory} already`, {
    hint: `give another folder, or: umount ${directory}`,
  });
}

function create(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o755 });
  } catch (error) {
    throw ioError(`cannot create ${directory}`, error);
  }
}

function openDevice(): number {
  try {
    return openSync("/dev/fuse", "r+");
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "EACCES" || errno === "EPERM") throw noPermission(error);
    throw new ProcscopeError("UNSUPPORTED_HERE", `there is no FUSE here: /dev/fuse: ${errno ?? error}`, {
      hint: "load the kernel module (modprobe fuse); in a container add --device /dev/fuse --cap-add SYS_ADMIN",
      cause: error,
    });
  }
}

function noPermission(cause: unknown): ProcscopeError {
  return new ProcscopeError("PERMISSION", "mounting was refused", {
    hint:
      process.geteuid?.() === 0
        ? "CAP_SYS_ADMIN is missing; in a container add --device /dev/fuse --cap-add SYS_ADMIN"
        : "run as root, or install fuse3 and let users open /dev/fuse (mode 0666)",
    cause,
  });
}

function mountData(fd: number): string {
  const rights = `user_id=${process.geteuid?.() ?? 0},group_id=${process.getegid?.() ?? 0}`;
  return `fd=${fd},rootmode=40000,${rights},allow_other,default_permissions`;
}

function mountBySyscall(directory: string): number {
  const fd = openDevice();
  const mount = libcFunction<(source: string, path: string, type: string, flags: number, data: string) => number>(
    "int mount(const char *source, const char *path, const char *type, unsigned long flags, const char *data)",
  );
  const flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (mount(source, directory, mountType, flags, mountData(fd)) === 0) return fd;
  const errno = errnoName(lastErrno());
  closeSync(fd);
  if (errno === "EPERM" || errno === "EACCES") throw noPermission(undefined);
  throw new ProcscopeError("IO", `mounting at ${directory} failed: ${errno}`);
}

function mountByCommand(directory: string): number {
  const fd = openDevice();
  // -i: no helper program, which would be libfuse's mount.fuse.
  const options = `ro,nosuid,nodev,noexec,${mountData(3)}`;
  const done = spawnSync("mount", ["-i", "-t", mountType, "-o", options, source, directory], {
    stdio: ["ignore", "ignore", "pipe", fd],
  });
  if (done.status === 0) return fd;
  closeSync(fd);
  const reason = done.error ? String(done.error) : done.stderr.toString().trim();
  if (/permission denied|not permitted|superuser/i.test(reason)) throw noPermission(done.error);
  throw new ProcscopeError("IO", `mounting at ${directory} failed: ${reason}`);
}

function mountByHelper(directory: string): number {
  const native = ffiAvailable();
  if (!native.available) throw native.error;
  const sockets = socketPair();
  const options = `ro,nosuid,nodev,noexec,fsname=${source},subtype=procscope,default_permissions`;
  // With allow_other other users and root can read too, if the administrator lets users ask for it.
  let done = runHelper(directory, `${options},allow_other`, sockets.theirs);
  if (done.status !== 0 && /user_allow_other/.test(done.stderr)) done = runHelper(directory, options, sockets.theirs);
  closeSync(sockets.theirs);
  const fd = receiveDescriptor(sockets.ours);
  if (done.status === 0 && fd !== undefined) return fd;
  if (done.missing) {
    throw new ProcscopeError("UNSUPPORTED_HERE", "only root can mount without fusermount3, which is not installed", {
      hint: "install the package fuse3, or run as root",
    });
  }
  if (/permission denied|not permitted/i.test(done.stderr)) throw noPermission(new Error(done.stderr));
  throw new ProcscopeError("IO", `fusermount3: ${done.stderr || "no descriptor was sent"}`);
}

function runHelper(directory: string, options: string, socket: number) {
  const done = spawnSync("fusermount3", ["-o", options, "--", directory], {
    env: { ...process.env, _FUSE_COMMFD: "3" },
    stdio: ["ignore", "ignore", "pipe", socket],
  });
  return {
    status: done.status,
    missing: done.error !== undefined && errnoOf(done.error) === "ENOENT",
    stderr: done.stderr?.toString().trim() ?? "",
  };
}

function ioError(what: string, error: unknown): ProcscopeError {
  const errno = errnoOf(error);
  const code = errno === "EACCES" || errno === "EPERM" ? "PERMISSION" : "IO";
  return new ProcscopeError(code, `${what}: ${errno ?? error}`, { cause: error });
}
