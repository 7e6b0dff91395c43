/**
 * Which process a command is about: `--pid N`, a bare N, `--name REGEX`, or `-- CMD ARGS` which we start and end.
 */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { ProcscopeError } from "../base/errors.ts";
import { escapeTerminal } from "../base/escape.ts";
import type { Pid } from "../base/units.ts";
import { readCmdline } from "../kernel/proc-cmdline.ts";
import { readProcStatus } from "../kernel/proc-status.ts";
import { type Invocation, type Option, option } from "./command.ts";
import { notice } from "./output.ts";

/** The options of every command that takes a target. */
export const targetOptions: {
  readonly pid: Option<Pid | undefined>;
  readonly name: Option<string | undefined>;
  readonly exe: Option<string | undefined>;
  readonly bin: Option<string | undefined>;
} = {
  pid: option("-p, --pid <n>", "the process to look into", parsePid),
  name: option("--name <regex>", "the one process whose command name or command line matches"),
  exe: option("--exe <file>", "the program's file, where /proc/PID/exe is not it"),
  bin: { flags: "--bin <file>", help: "alias of --exe", aliasOf: "exe" },
};

/** A process id as a user writes it. Throws USAGE. */
export function parsePid(text: string): Pid {
  if (!/^[1-9]\d{0,9}$/.test(text))
    throw new ProcscopeError("USAGE", `not a process id: ${text}`, { hint: "procscope ps lists Go processes" });
  return Number(text);
}

/** The process that was asked for; disposing of it ends a program that we started. */
export interface Target extends AsyncDisposable {
  readonly pid: Pid;
  readonly exe: string | undefined;
  /** Resolves when a program that we started has ended; undefined for a process that was there before. */
  readonly ended: Promise<void> | undefined;
}

type TargetInvocation = Pick<Invocation<typeof targetOptions>, "options" | "operands" | "program">;

/** Resolves the target. `bareOperand` says whether the first operand may be the pid. Throws USAGE, NO_PROCESS. */
export async function resolveTarget(invocation: TargetInvocation, bareOperand = true): Promise<Target> {
  const { options, operands, program } = invocation;
  const bare = bareOperand ? operands[0] : undefined;
  const ways = [options.pid, options.name, program, bare].filter((way) => way !== undefined).length;
  if (ways !== 1) {
    throw new ProcscopeError("USAGE", ways === 0 ? "no process named" : "more than one process named", {
      hint: "give one of --pid N, --name REGEX, or -- COMMAND ARGS; procscope ps lists Go processes",
    });
  }
  if (program) return startProgram(program, options.exe);
  const pid = options.name === undefined ? (options.pid ?? parsePid(bare!)) : findByName(options.name);
  return { pid, exe: options.exe, ended: undefined, async [Symbol.asyncDispose]() {} };
}

function findByName(pattern: string): Pid {
  const regex = compile(pattern);
  const found: { pid: Pid; what: string }[] = [];
  for (const entry of readdirSync("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const what = describe(pid);
    if (what && regex.test(what)) found.push({ pid, what });
  }
  if (found.length === 1) return found[0]!.pid;
  if (found.length === 0)
    throw new ProcscopeError("NO_PROCESS", `no process matches ${pattern}`, {
      hint: "procscope ps lists Go processes",
    });
  for (const { pid, what } of found.slice(0, 20))
    notice(`  ${String(pid).padStart(7)} ${escapeTerminal(what).slice(0, 100)}`);
  throw new ProcscopeError("USAGE", `${found.length} processes match ${pattern}`, {
    hint: "narrow the expression, or choose one with --pid",
  });
}

function compile(pattern: string): RegExp {
  try {
    return new RegExp(pattern, "u");
  } catch (cause) {
    throw new ProcscopeError("USAGE", `not a regular expression: ${pattern}`, { cause });
  }
}

/** "name: argv", by which a process is sought; undefined where it is gone or a kernel thread. */
function describe(pid: Pid): string | undefined {
  try {
    const argv = readCmdline(`/proc/${pid}`) ?? [];
    return argv.length === 0 ? undefined : `${readProcStatus(pid).name}: ${argv.join(" ")}`;
  } catch {
    return undefined;
  }
}

/** Starts a program with our standard error for its output, so that ours stays clean; ends it with us. */
async function startProgram(program: readonly string[], exe: string | undefined): Promise<Target> {
  if (program.length === 0) throw new ProcscopeError("USAGE", "no command after --");
  const child = spawn(program[0]!, program.slice(1), { stdio: ["ignore", 2, 2] });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) =>
      reject(new ProcscopeError("USAGE", `cannot start ${program[0]}: ${cause.message}`, { cause })),
    );
  });
  const end = (): boolean => child.exitCode === null && child.signalCode === null && child.kill("SIGKILL");
  process.once("exit", end);
  return {
    pid: child.pid!,
    exe,
    ended,
    async [Symbol.asyncDispose]() {
      process.off("exit", end);
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      const late = setTimeout(end, 2000);
      await ended;
      clearTimeout(late);
    },
  };
}
