/** ps, doctor and every command's --json, on real processes. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { packageRoot } from "../../src/base/package-root.ts";
import { containerOf } from "../../src/kernel/container.ts";
import { isRoot } from "../kernel/targets.ts";
import { procscope } from "../support/cli.ts";
import { build, endChild, GoTarget } from "../support/go-target.ts";
import { currentGo } from "../support/go-toolchain.ts";
import { schemaErrors } from "../support/json-schema.ts";

const rootOnly = isRoot ? false : "needs root";
const nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
const folder = mkdtempSync(join(tmpdir(), "procscope-commands-"));
let target: GoTarget;

before(async () => {
  target = await GoTarget.start(await build(currentGo, "strip"));
  await target.ask("kinds");
});

after(async () => {
  await target?.end();
  rmSync(folder, { recursive: true, force: true });
});

interface Entry {
  readonly pid: number;
  readonly goVersion: string;
  readonly goroutines: number | null;
  readonly module: { path: string; version: string };
  readonly deleted: boolean;
  readonly residentBytes: number;
  readonly startTime: string;
}

async function list(...args: string[]): Promise<Entry[]> {
  const result = await procscope(["ps", "--json", ...args]);
  assert.equal(result.status, 0, result.stderr);
  return (JSON.parse(result.stdout) as { processes: Entry[] }).processes;
}

test("ps: a stripped program with its version, module, goroutines and start", async () => {
  const entry = (await list()).find(({ pid }) => pid === target.pid);
  assert.ok(entry);
  assert.equal(entry.goVersion, currentGo);
  assert.equal(entry.module.path, "procscope.test/goroutines");
  assert.equal(entry.deleted, false);
  // Those of the runtime count too: garbage collector, sweeper, scavenger, finalizers.
  const own = Number(await target.ask("count"));
  assert.ok(entry.goroutines! >= own && entry.goroutines! < own + 20, `${entry.goroutines} of ${own}`);
  assert.ok(entry.residentBytes > 1e6);
  assert.ok(Math.abs(Date.parse(entry.startTime) - Date.now()) < 600_000);
});

test("ps --no-goroutines does not count them", async () => {
  assert.equal((await list("--no-goroutines")).find(({ pid }) => pid === target.pid)?.goroutines, null);
});

test("ps: what is not Go is not listed", async () => {
  const sleeper = spawn("sleep", ["60"]);
  try {
    const pids = (await list()).map(({ pid }) => pid);
    assert.ok(!pids.includes(sleeper.pid!) && !pids.includes(process.pid));
  } finally {
    await endChild(sleeper);
  }
});

test("ps: a user without rights is told that something is not shown", { skip: rootOnly }, async () => {
  const result = await procscope(["ps", "--json"], { by: nobody });
  assert.equal(result.status, 0, result.stderr);
  const { processes, denied } = JSON.parse(result.stdout) as { processes: Entry[]; denied: number };
  assert.ok(!processes.some(({ pid }) => pid === target.pid));
  assert.ok(denied > 0);
  assert.match(result.stderr, /could not be looked at; run as root/);
});

test("containers by the paths of control groups", () => {
  const id = "0123456789abcdef".repeat(4);
  for (const path of [
    `/docker/${id}`,
    `/system.slice/docker-${id}.scope`,
    `/kubepods/besteffort/pod1f/${id}`,
    `/kubepods.slice/kubepods-pod1f.slice/cri-containerd-${id}.scope`,
    `/machine.slice/libpod-${id}.scope/container`,
  ])
    assert.equal(containerOf(["/user.slice", path]), id.slice(0, 12), path);
  assert.equal(containerOf(["/lxc/web/init.scope"]), "web");
  assert.equal(containerOf(["/", "/user.slice/user-0.slice", "/system.slice/ssh.service"]), undefined);
});

interface Doctor {
  readonly here: readonly Finding[];
  readonly target: readonly Finding[] | null;
  readonly go: {
    readonly version: string;
    readonly evidence: readonly { subject: string; checked: string }[];
    missing: string[];
  };
}

interface Finding {
  readonly subject: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly mend?: string;
}

async function doctor(args: readonly string[], by?: readonly string[]): Promise<Doctor> {
  const result = await procscope(["doctor", "--json", ...args], by ? { by } : {});
  assert.equal(result.status, 0, result.stderr);
  return JSON.parse(result.stdout) as Doctor;
}

const finding = (findings: readonly Finding[] | null, subject: string): Finding | undefined =>
  findings?.find((one) => one.subject === subject);

test("doctor: a Go process, and how each thing about it was found", async () => {
  const { go, target: findings } = await doctor(["--pid", String(target.pid)]);
  assert.equal(go.version, `go${currentGo}`);
  for (const subject of ["version", "pclntab", "moduledata", "layout g", "global allgs"])
    assert.ok(
      go.evidence.some((one) => one.subject === subject),
      `no evidence of ${subject}`,
    );
  assert.equal(finding(findings, "memory (process_vm_readv)")?.ok, true);
});

test("doctor: what another user lacks, and what mends it", { skip: rootOnly }, async () => {
  const { target: findings } = await doctor(["--pid", String(target.pid)], nobody);
  const memory = finding(findings, "memory (process_vm_readv)");
  assert.equal(memory?.ok, false);
  assert.match(memory?.detail ?? "", /^EPERM: .*uid 0.*without CAP_SYS_PTRACE/);
  assert.match(memory?.mend ?? "", /setpriv .*\+sys_ptrace/);
  // With that capability alone the memory can be read, and its file cannot.
  const able = [...nobody, "--inh-caps=+sys_ptrace", "--ambient-caps=+sys_ptrace"];
  const more = (await doctor(["--pid", String(target.pid)], able)).target;
  assert.equal(finding(more, "memory (process_vm_readv)")?.ok, true);
  const file = finding(more, "memory (/proc/PID/mem)");
  assert.match(file?.detail ?? "", /CAP_DAC_READ_SEARCH is missing/);
  assert.match(file?.mend ?? "", /dac_read_search/);
});

/** A folder that stands for /proc/sys of a machine with other settings. */
function settings(name: string, files: Record<string, string>): string {
  const root = join(folder, name, "sys");
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  mkdirSync(root, { recursive: true });
  spawn("chmod", ["-R", "a+rX", folder]);
  return root;
}

for (const [scope, words] of [
  [1, /ptrace_scope is 1: only descendants/],
  [2, /ptrace_scope is 2: only those with CAP_SYS_PTRACE/],
  [3, /ptrace_scope is 3: nobody/],
] as const) {
  test(`doctor: yama ${scope}`, { skip: rootOnly }, async () => {
    const root = settings(`yama${scope}`, { "kernel/yama/ptrace_scope": `${scope}\n` });
    const { here, target: findings } = await doctor(
      ["--pid", String(target.pid), "--sys-root", root],
      nobodyReaching(),
    );
    const yama = finding(here, "yama");
    assert.equal(yama?.ok, false);
    assert.match(yama?.detail ?? "", words);
    assert.match(yama?.mend ?? "", /ptrace_scope/);
    assert.ok(
      findings?.some(({ detail }) => words.test(detail)),
      "the refusal does not name it",
    );
    const root3 = (await doctor(["--sys-root", root])).here;
    assert.equal(finding(root3, "yama")?.ok, scope < 3, "root is bound by 3 only");
  });
}

function nobodyReaching(): readonly string[] {
  return nobody;
}

test("doctor: perf_event_paranoid 3 and hidepid", { skip: rootOnly }, async () => {
  const root = settings("paranoid", {
    "kernel/perf_event_paranoid": "3\n",
    "../self/mountinfo": "22 1 0:21 / /proc rw,nosuid - proc proc rw,hidepid=invisible\n",
  });
  const { here } = await doctor(["--sys-root", root], nobody);
  const samples = finding(here, "CPU samples");
  assert.equal(samples?.ok, false);
  assert.match(samples?.detail ?? "", /perf_event_paranoid is 3: no perf events without CAP_PERFMON/);
  assert.match(samples?.mend ?? "", /sysctl kernel.perf_event_paranoid=2/);
  assert.match(finding(here, "hidepid")?.detail ?? "", /hidepid=invisible/);
  const ours = (await doctor(["--sys-root", root])).here;
  assert.deepEqual([finding(ours, "CPU samples")?.ok, finding(ours, "hidepid")?.ok], [true, true]);
});

for (const args of [
  ["ps"],
  ["doctor"],
  ["doctor", "PID"],
  ["summary", "--pid", "PID"],
  ["mem", "--pid", "PID"],
  ["top", "--pid", "PID", "--count", "1"],
  ["groups"],
]) {
  test(`the JSON of ${args.join(" ")} is what its schema says`, async () => {
    const result = await procscope([...args.map((word) => (word === "PID" ? String(target.pid) : word)), "--json"]);
    assert.equal(result.status, 0, result.stderr);
    const schema = JSON.parse(readFileSync(join(packageRoot, "schemas", `${args[0]}.json`), "utf8")) as Record<
      string,
      unknown
    >;
    assert.deepEqual(schemaErrors(JSON.parse(result.stdout), schema).slice(0, 5), []);
  });
}
