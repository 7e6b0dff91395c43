/** `procscope doctor`: what this user may do here and to one process; for each refusal the reason and what mends it. */
import { existsSync, readlinkSync } from "node:fs";
import { release } from "node:os";
import { ProcscopeError } from "../../base/errors.ts";
import { escapeTerminal } from "../../base/escape.ts";
import type { Pid } from "../../base/units.ts";
import { diagnoseGo, type GoDiagnosis } from "../../go/diagnosis.ts";
import { explainRefusal, probeAccess, type Way } from "../../kernel/access-probe.ts";
import { type AccessSettings, readAccessSettings } from "../../kernel/access-settings.ts";
import { capabilityNames } from "../../kernel/capabilities.ts";
import { ffiAvailable } from "../../kernel/ffi.ts";
import { kernelThreadFlag, readProcStat } from "../../kernel/proc-stat.ts";
import { readProcStatus } from "../../kernel/proc-status.ts";
import { yamaRefusals } from "../../kernel/process-access.ts";
import { UserNames } from "../../kernel/users.ts";
import { compareSources } from "../../proc/sources/compare.ts";
import { openExitSource } from "../../proc/sources/exits.ts";
import { openSource, sourceNames } from "../../proc/sources/open.ts";
import type { SourceName } from "../../proc/sources/source.ts";
import { defineCommand, flag, type Invocation, type Option, option } from "../command.ts";
import { jsonHeader, openSink, type Paint, paintFor } from "../output.ts";
import { usageError } from "../parse.ts";
import { parsePid } from "../target.ts";

const schema = "procscope/doctor/1";

const options = {
  pid: option("-p, --pid <n>", "the process to look at", parsePid) as Option<Pid | undefined>,
  sysRoot: option("--sys-root <dir>", "look at the settings below this folder in place of /proc/sys"),
  json: flag("--json", "one JSON object"),
};

/** One thing that was looked at. */
interface Finding {
  /** What it is for: "memory", "CPU samples". */
  readonly subject: string;
  readonly ok: boolean;
  /** What was found; for a refusal the exact reason. */
  readonly detail: string;
  /** The command or setting that mends a refusal. */
  readonly mend?: string;
}

export const command = defineCommand({
  name: "doctor",
  operands: "[pid]",
  description:
    "Tells what procscope may do here, and with a pid what it may do to that process. Each refusal comes with its exact\n" +
    "reason (owner, missing capability, yama, seccomp, namespace) and the command that mends it. For a Go process also\n" +
    "how its version, layouts and variables were found and checked.",
  options,
  examples: [
    ["procscope doctor", "this machine and this user"],
    ["procscope doctor --pid 4711", "why process 4711 can or cannot be looked into"],
  ],
  schema,
  run,
});

async function run({ options: values, operands }: Invocation<typeof options>): Promise<number | undefined> {
  if (values.pid !== undefined && operands[0] !== undefined) throw usageError(command, "more than one process named");
  const pid = values.pid ?? (operands[0] === undefined ? undefined : parsePid(operands[0]));
  const sysRoot = values.sysRoot ?? "/proc/sys";
  if (!existsSync(sysRoot)) throw usageError(command, `no such folder: ${sysRoot}`);
  const settings = readAccessSettings(sysRoot);
  const here = findingsHere(settings, sysRoot);
  const target = pid === undefined ? undefined : findingsOf(pid, sysRoot);
  const go = pid === undefined ? undefined : goFindings(pid);
  const sink = openSink();
  if (values.json) {
    const about = { pid: pid ?? null, settings, here, target: target ?? null, go: go ?? null };
    sink.write(`${JSON.stringify(jsonHeader(schema, about))}\n`);
  } else sink.write(report(paintFor(process.stdout), here, pid, target, go));
  return undefined;
}

function findingsHere(settings: AccessSettings, sysRoot: string): Finding[] {
  const self = readProcStatus(process.pid);
  const names = capabilityNames(self.effectiveCapabilities);
  const tracer = names.includes("CAP_SYS_PTRACE");
  const linux = process.platform === "linux" && (process.arch === "x64" || process.arch === "arm64");
  const findings: Finding[] = [
    { subject: "machine", ok: linux, detail: `Linux ${release()} ${process.arch}, Node ${process.versions.node}` },
    {
      subject: "user",
      ok: true,
      detail: `uid ${self.uids[1]} (${new UserNames().name(self.uids[1] ?? -1)}), ${names.length > 0 ? names.join(" ") : "no capabilities"}`,
    },
    nativeFinding(),
    ...yamaFinding(settings, sysRoot, tracer),
    hidepidFinding(settings, tracer),
    perfFinding(settings, names.includes("CAP_PERFMON") || names.includes("CAP_SYS_ADMIN")),
  ];
  if (self.seccomp === 2)
    findings.push({ subject: "seccomp", ok: true, detail: "a filter is on us; it may refuse perf_event_open and bpf" });
  findings.push(...sourceFindings(), fuseFinding());
  return findings;
}

function nativeFinding(): Finding {
  const native = ffiAvailable();
  if (native.available) return { subject: "native calls", ok: true, detail: "koffi is loaded" };
  const mend = native.error.hint;
  const detail = `${native.error.message}; memory is read through /proc/PID/mem`;
  return mend === undefined
    ? { subject: "native calls", ok: false, detail }
    : { subject: "native calls", ok: false, detail, mend };
}

function yamaFinding(settings: AccessSettings, sysRoot: string, tracer: boolean): Finding[] {
  if (settings.ptraceScope === undefined) return [{ subject: "yama", ok: true, detail: "not in this kernel" }];
  const refusals = settings.ptraceScope === 3 || !tracer ? yamaRefusals(sysRoot) : [];
  if (refusals.length === 0)
    return [
      { subject: "yama", ok: true, detail: `kernel.yama.ptrace_scope is ${settings.ptraceScope}: does not bind us` },
    ];
  return refusals.map(({ reason, mend }) => ({ subject: "yama", ok: false, detail: reason, mend }));
}

function hidepidFinding({ hidepid }: AccessSettings, tracer: boolean): Finding {
  if (hidepid === "off" || tracer)
    return { subject: "hidepid", ok: true, detail: hidepid === "off" ? "off" : `${hidepid}: does not bind us` };
  const what =
    hidepid === "noaccess" ? "other users' processes cannot be looked into" : "other users' processes are invisible";
  return {
    subject: "hidepid",
    ok: false,
    detail: `/proc is mounted with hidepid=${hidepid}: ${what}`,
    mend: "run as root, or: mount -o remount,hidepid=off /proc, or join the group of its gid= option",
  };
}

function perfFinding({ perfEventParanoid: paranoid }: AccessSettings, capable: boolean): Finding {
  const subject = "CPU samples";
  const mendUser = "sysctl kernel.perf_event_paranoid=2, or setpriv --inh-caps=+perfmon --ambient-caps=+perfmon";
  if (paranoid === undefined)
    return { subject, ok: false, detail: "this kernel has no perf events", mend: "a kernel with CONFIG_PERF_EVENTS" };
  if (capable || paranoid < 2)
    return {
      subject,
      ok: true,
      detail: `kernel.perf_event_paranoid is ${paranoid}: with kernel frames${capable ? ", of any process" : ""}`,
    };
  if (paranoid > 2)
    return {
      subject,
      ok: false,
      detail: `kernel.perf_event_paranoid is ${paranoid}: no perf events without CAP_PERFMON`,
      mend: mendUser,
    };
  return { subject, ok: true, detail: "kernel.perf_event_paranoid is 2: own processes, without kernel frames" };
}

/** Which sources of src/proc work here: what `groups` and `exporter` read processes by. */
function sourceFindings(): Finding[] {
  const findings = sourceNames.map((name) => attempt(`processes by ${name}`, () => openSource(name).close()));
  let exits = "";
  const finding = attempt("exit records", () => {
    const source = openExitSource();
    exits = `by ${source.name}`;
    source.close();
  });
  const working = sourceNames.filter((name, i) => name !== "procfs" && findings[i]!.ok);
  return [...findings, ...working.map(agreementFinding), finding.ok ? { ...finding, detail: exits } : finding];
}

/** Whether a source says of the processes of this machine what plain procfs says. */
function agreementFinding(name: SourceName): Finding {
  const plain = openSource("procfs");
  const source = openSource(name);
  try {
    const result = compareSources(plain, source);
    const subject = `${name} self-test`;
    const counted = `${result.compared} values of ${result.processes} processes`;
    if (result.agree) return { subject, ok: true, detail: `${counted} are those of procfs` };
    const wrong = result.differences
      .slice(0, 3)
      .map(({ pid, field, before, between }) => `${field} of ${pid}: ${between}, procfs ${before}`);
    const missing = result.onlyFirst.map((pid) => `process ${pid} is missing`);
    const extra = result.onlySecond.map((pid) => `process ${pid} is only here`);
    return { subject, ok: false, detail: `${counted}; ${[...wrong, ...missing, ...extra].join("; ")}` };
  } finally {
    plain.close();
    source.close();
  }
}

function attempt(subject: string, action: () => void): Finding {
  try {
    action();
    return { subject, ok: true, detail: "works" };
  } catch (error) {
    if (!(error instanceof ProcscopeError)) throw error;
    const finding = { subject, ok: false, detail: error.message };
    return error.hint === undefined ? finding : { ...finding, mend: error.hint };
  }
}

function fuseFinding(): Finding {
  const subject = "mounts";
  if (!existsSync("/dev/fuse"))
    return { subject, ok: false, detail: "no /dev/fuse", mend: "modprobe fuse; docker run --device /dev/fuse" };
  const root = process.geteuid?.() === 0;
  const helper = ["/usr/bin/fusermount3", "/bin/fusermount3", "/usr/bin/fusermount"].find((path) => existsSync(path));
  if (root || helper) return { subject, ok: true, detail: root ? "/dev/fuse, as root" : `/dev/fuse, by ${helper}` };
  return { subject, ok: false, detail: "not root, and no fusermount3", mend: "install the package fuse3" };
}

const purposes: Record<Way, string> = {
  maps: "address space (maps)",
  exe: "program file (exe)",
  process_vm_readv: "memory (process_vm_readv)",
  mem: "memory (/proc/PID/mem)",
  environ: "environment",
  fd: "open files",
  perf: "CPU samples",
};

/** What we may do to one process. Throws NO_PROCESS. */
function findingsOf(pid: Pid, sysRoot: string): Finding[] {
  const stat = readProcStat(pid);
  const status = readProcStatus(pid);
  const users = new UserNames();
  const findings: Finding[] = [
    {
      subject: "process",
      ok: true,
      detail: `${status.name}, state ${status.state}, ${users.name(status.uids[1] ?? -1)} (uid ${status.uids[1]}), ${status.threads} threads${programOf(pid)}`,
    },
  ];
  if (stat.flags & kernelThreadFlag)
    return [...findings, { subject: "memory", ok: false, detail: "a kernel thread: it has no memory of its own" }];
  if (status.state === "Z" || status.state === "X")
    return [
      ...findings,
      { subject: "memory", ok: false, detail: "a zombie: it exited, and its parent has not asked for its status" },
    ];
  if (status.tracerPid !== 0)
    findings.push({
      subject: "tracer",
      ok: true,
      detail: `traced by process ${status.tracerPid} (${nameOf(status.tracerPid)}); reading memory goes on all the same`,
    });
  if (status.namespacePids.length > 1)
    findings.push({
      subject: "namespace",
      ok: true,
      detail: `in a pid namespace of its own, as pid ${status.namespacePids.at(-1)}`,
    });
  for (const { way, errno } of probeAccess(pid)) {
    if (errno === undefined) findings.push({ subject: purposes[way], ok: true, detail: "allowed" });
    else
      for (const { reason, mend } of explainRefusal(way, errno, pid, sysRoot))
        findings.push({ subject: purposes[way], ok: false, detail: `${errno}: ${reason}`, mend });
  }
  return findings;
}

function programOf(pid: Pid): string {
  try {
    return `, ${readlinkSync(`/proc/${pid}/exe`)}`;
  } catch {
    return "";
  }
}

function nameOf(pid: Pid): string {
  try {
    return readProcStatus(pid).name;
  } catch {
    return "gone";
  }
}

/** The Go runtime of a process, or why it is not one that can be read. */
function goFindings(
  pid: Pid,
): GoDiagnosis | { readonly error: { code: string; message: string; hint: string | null } } {
  try {
    return diagnoseGo(pid);
  } catch (error) {
    if (!(error instanceof ProcscopeError)) throw error;
    return { error: { code: error.code, message: error.message, hint: error.hint ?? null } };
  }
}

function report(
  paint: Paint,
  here: readonly Finding[],
  pid: Pid | undefined,
  target: readonly Finding[] | undefined,
  go: ReturnType<typeof goFindings> | undefined,
): string {
  const told = new Set<string>();
  const lines = ["Here:", ...here.flatMap((finding) => findingLines(paint, finding, told))];
  if (target) lines.push("", `Process ${pid}:`, ...target.flatMap((finding) => findingLines(paint, finding, told)));
  if (go && "error" in go) lines.push("", `Go: ${escapeTerminal(go.error.message)}`);
  else if (go) {
    lines.push("", `Go: ${escapeTerminal(go.version)}${go.module ? `, ${escapeTerminal(go.module)}` : ""}`);
    for (const { subject, found, checked } of go.evidence)
      lines.push(
        `  ${subject.padEnd(26)} ${escapeTerminal(found)}${checked ? `; checked: ${escapeTerminal(checked)}` : ""}`,
      );
    if (go.missing.length > 0) lines.push(`  not found: ${go.missing.join(", ")}`);
  }
  return `${lines.join("\n")}\n`;
}

/** One remedy often mends several refusals: each is told once. */
function findingLines(paint: Paint, { subject, ok, detail, mend }: Finding, told: Set<string>): string[] {
  const mark = ok ? paint("green", "ok ") : paint("red", "no ");
  const lines = [`  ${mark} ${subject.padEnd(26)} ${escapeTerminal(detail)}`];
  if (mend !== undefined && !told.has(mend)) lines.push(`      ${"".padEnd(26)} → ${escapeTerminal(mend)}`);
  if (mend !== undefined) told.add(mend);
  return lines;
}
