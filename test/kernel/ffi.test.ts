import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { packageRoot } from "../../src/base/package-root.ts";
import { addressOf, errnoName, ffiAvailable, lastErrno, libcFunction, memoryView } from "../../src/kernel/ffi.ts";
import { syscall } from "../../src/kernel/syscall.ts";

test("a libc function returns what the process itself knows", () => {
  const getpid = libcFunction<() => number>("int getpid()");
  assert.equal(getpid(), process.pid);
  assert.equal(libcFunction("int getpid()"), getpid, "bound once");
});

test("errno of a failed call is kept and named", () => {
  const close = libcFunction<(fd: number) => number>("int close(int fd)");
  assert.equal(close(-1), -1);
  assert.equal(errnoName(lastErrno()), "EBADF");
});

test("a raw system call returns the result or minus errno", () => {
  assert.equal(syscall("gettid"), process.pid, "the main thread's id is the process's");
  assert.equal(errnoName(-syscall("pidfd_open", -5, 0)), "EINVAL");
});

test("memory is viewed without a copy", () => {
  const buffer = Buffer.alloc(64);
  const view = new Uint8Array(memoryView(addressOf(buffer), 64));
  buffer[7] = 42;
  assert.equal(view[7], 42);
  view[8] = 43;
  assert.equal(buffer[8], 43);
});

test("an unknown function is refused with a sentence", () => {
  assert.throws(() => libcFunction("int no_such_function_here()"), { code: "UNSUPPORTED_HERE" });
});

test("without koffi the error names what to install", () => {
  assert.equal(ffiAvailable().available, true);
  // A copy of the compiled files outside the checkout: there koffi truly cannot be resolved.
  const folder = mkdtempSync(join(tmpdir(), "procscope-ffi-"));
  try {
    execFileSync("cp", ["-r", join(packageRoot, "dist/src"), folder]);
    const url = pathToFileURL(join(folder, "src/kernel/ffi.js")).href;
    const script = `import(${JSON.stringify(url)}).then((m) => { try { m.lastErrno(); console.log("no error"); } catch (e) { console.log(e.code + " " + e.hint); } })`;
    const printed = execFileSync(process.execPath, ["-e", script], { encoding: "utf8", env: { PATH: "/usr/bin" } });
    assert.match(printed, /^UNSUPPORTED_HERE .*npm install koffi/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
