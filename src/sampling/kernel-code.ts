import type { Address } from "../base/units.ts";
import { KernelSymbols } from "../kernel/kallsyms.ts";
import type { CodeFrame, CodeSource } from "./code.ts";

/** Kernel functions by /proc/kallsyms; one frame "[kernel]" where their names may not be seen. */
export class KernelCode implements CodeSource {
  #symbols: KernelSymbols | undefined | "unread" = "unread";

  frames(address: Address): readonly CodeFrame[] | undefined {
    if (address >= 0) return undefined;
    // Read with the first kernel frame: it is 10 MB of text that a program in user mode never needs.
    if (this.#symbols === "unread") this.#symbols = KernelSymbols.read();
    return [{ name: this.#symbols?.lookup(address) ?? "[kernel]", file: "[kernel]", line: 0, startLine: 0 }];
  }
}
