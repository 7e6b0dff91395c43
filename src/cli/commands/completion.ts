import { defineCommand } from "../command.ts";
import { completionScript, type Shell, shells } from "../completion.ts";
import { openSink } from "../output.ts";
import { usageError } from "../parse.ts";
import { loadAll } from "../table.ts";

export const command = defineCommand({
  name: "completion",
  operands: "<bash|zsh|fish>",
  description: "Prints a completion script for a shell, made from the commands of this version.",
  options: {},
  examples: [
    ["source <(procscope completion bash)", "completion in this bash"],
    ["procscope completion zsh > ~/.zfunc/_procscope", "for zsh, with ~/.zfunc in fpath"],
    ["procscope completion fish > ~/.config/fish/completions/procscope.fish", "for fish"],
  ],
  async run({ operands }) {
    const shell = operands[0] as Shell;
    if (!shells.includes(shell)) throw usageError(command, `no completion for ${shell}: one of ${shells.join(", ")}`);
    openSink().write(completionScript(shell, await loadAll()));
    return undefined;
  },
});
