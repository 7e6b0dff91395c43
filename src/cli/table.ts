import type { Command } from "./command.ts";

/** A row of the command table: enough for the top-level help; the command itself is loaded when it is needed. */
export interface CommandRow {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly summary: string;
  /** Where it stands in the top-level help. */
  readonly group: "Go processes" | "Any process" | "Profiles" | "procscope itself";
  load(): Promise<{ readonly command: Command }>;
}

/** The one list of commands. Help, completion, man page and the list of schemas are made from it. */
export const commandTable: readonly CommandRow[] = [
  {
    name: "ps",
    summary: "list the Go processes of this machine: version, module, goroutines, memory",
    group: "Go processes",
    load: () => import("./commands/ps.ts"),
  },
  {
    name: "summary",
    aliases: ["s"],
    summary: "list the goroutines of a Go process: state, what each waits for, which function",
    group: "Go processes",
    load: () => import("./commands/summary.ts"),
  },
  {
    name: "dump",
    summary: "print full stacks of all goroutines: runtime text, groups, pprof, folded, JSON",
    group: "Go processes",
    load: () => import("./commands/dump.ts"),
  },
  {
    name: "top",
    aliases: ["t"],
    summary: "watch the goroutines of a Go process, or all Go processes, on a full screen",
    group: "Go processes",
    load: () => import("./commands/top.ts"),
  },
  {
    name: "diff",
    summary: "compare two snapshots of goroutines and name what grew: the leak finder; or two profiles",
    group: "Go processes",
    load: () => import("./commands/diff.ts"),
  },
  {
    name: "watch",
    summary: "write a dump of goroutines at the moment that a condition holds",
    group: "Go processes",
    load: () => import("./commands/watch.ts"),
  },
  {
    name: "mem",
    summary: "memory statistics of a Go process: every field of runtime.MemStats",
    group: "Go processes",
    load: () => import("./commands/mem.ts"),
  },
  {
    name: "mount",
    summary: "mount memory statistics and goroutines of Go processes as files",
    group: "Go processes",
    load: () => import("./commands/mount.ts"),
  },
  {
    name: "exporter",
    summary: "export groups of processes to Prometheus, as process-exporter does",
    group: "Any process",
    load: () => import("./commands/exporter.ts"),
  },
  {
    name: "groups",
    summary: "show processes in groups: CPU, memory, IO; or why a process is in its group",
    group: "Any process",
    load: () => import("./commands/groups.ts"),
  },
  {
    name: "profile",
    aliases: ["record"],
    summary: "sample where a running process spends its time: CPU, waiting, or what the Go runtime keeps",
    group: "Profiles",
    load: () => import("./commands/profile.ts"),
  },
  {
    name: "convert",
    summary: "convert a profile between formats: pprof, flame graph, call graph SVG and PDF, speedscope, folded",
    group: "Profiles",
    load: () => import("./commands/convert.ts"),
  },
  {
    name: "doctor",
    summary: "what this user may do here and to a process, and what mends each refusal",
    group: "procscope itself",
    load: () => import("./commands/doctor.ts"),
  },
  {
    name: "completion",
    summary: "print a completion script for bash, zsh or fish",
    group: "procscope itself",
    load: () => import("./commands/completion.ts"),
  },
  {
    name: "schema",
    summary: "print the JSON Schema of a command's --json",
    group: "procscope itself",
    load: () => import("./commands/schema.ts"),
  },
];

export function findRow(word: string): CommandRow | undefined {
  return commandTable.find((row) => row.name === word || row.aliases?.includes(word));
}

/** All commands, loaded: for what is made from the whole table. */
export async function loadAll(): Promise<{ readonly row: CommandRow; readonly command: Command }[]> {
  return Promise.all(commandTable.map(async (row) => ({ row, command: (await row.load()).command })));
}
