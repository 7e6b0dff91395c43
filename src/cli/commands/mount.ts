/** procscope mount: the goinfo tree over a running Go process, or over all of them. */
import { parseDuration } from "../../base/duration.ts";
import { ProcscopeError } from "../../base/errors.ts";
import { escapeTerminal } from "../../base/escape.ts";
import { mountGo } from "../../goinfo/mount.ts";
import { defineCommand, flag, option } from "../command.ts";
import { jsonHeader, notice, openSink } from "../output.ts";
import { resolveTarget, type Target, targetOptions } from "../target.ts";

export const command = defineCommand({
  name: "mount",
  operands: "<folder>",
  description:
    "Mounts a tree of small files over a running Go process, as procfs does for the kernel: memory statistics in mem/, " +
    "goroutines in st/, made anew at each read. The process needs no code for it and is not stopped. The tree belongs " +
    "to the process's user, read-only. It stays until Ctrl-C, also after the process has ended.",
  options: {
    ...targetOptions,
    all: flag("-a, --all", "one folder for each Go process, PID-NAME, as they come and go"),
    ttl: option(
      "--ttl <duration>",
      "keep what was read for so long, as goinfo did with 2s; otherwise each read is fresh",
      parseDuration,
    ),
    mode: option("--mode <octal>", "permission bits of the files: 0400 unless given, 0444 for everybody", parseMode),
    supervise: flag("--supervise", "survive the death of the serving process: reads in flight go on"),
    json: flag("--json", "say what was mounted as one line of JSON"),
  },
  examples: [
    ["procscope mount ~/go/myapp --pid 4711", "then, elsewhere: cat ~/go/myapp/mem/genmem"],
    ["sudo procscope mount /run/go --all", "every Go process of the machine, each for its own user"],
    ["watch -n 1 cat ~/go/myapp/st/summary", "what the goroutines do, every second"],
  ],
  schema: "procscope/mount/1",
  async run(invocation) {
    const { options, operands } = invocation;
    if (options.all && (options.pid !== undefined || options.name !== undefined || invocation.program !== undefined)) {
      throw new ProcscopeError("USAGE", "--all is about every process, so none can be named", {
        hint: "leave out --all, or the process",
      });
    }
    await using target: Target | undefined = options.all ? undefined : await resolveTarget(invocation, false);
    const server = await mountGo({
      directory: operands[0]!,
      ...(target === undefined ? {} : { pid: target.pid }),
      ...(options.mode === undefined ? {} : { mode: options.mode }),
      ...(options.ttl === undefined ? {} : { ttl: options.ttl }),
      supervise: options.supervise,
      log: (message) => notice(`procscope mount: ${escapeTerminal(message)}`),
    });
    const { directory } = server;
    if (options.json) {
      const header = jsonHeader("procscope/mount/1", { pid: target?.pid ?? null, mountPoint: directory });
      openSink().write(`${JSON.stringify(header)}\n`);
    } else notice(`mounted at ${escapeTerminal(directory)}; Ctrl-C unmounts`);
    const stopped = new Promise<void>((resolve) => {
      if (invocation.signal.aborted) resolve();
      invocation.signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.race([stopped, server.ended, ...(target?.ended ? [target.ended] : [])]);
    await server.stop();
    return undefined;
  },
});

function parseMode(text: string): number {
  const mode = /^0?o?([0-7]{3})$/.exec(text)?.[1];
  if (mode === undefined) throw new ProcscopeError("USAGE", `not a file mode: ${text}`, { hint: "write 0400 or 0444" });
  // Read-only, whatever is asked for.
  return Number.parseInt(mode, 8) & 0o444;
}
