/** Picks the cheapest source that works here. */
import { ProcscopeError } from "../../base/errors.ts";
import { defaultProcMount } from "../../kernel/proc-file.ts";
import { openBpfSource } from "./bpf.ts";
import { ProcfsSource } from "./procfs.ts";
import { GatedProcfsSource } from "./procfs-gated.ts";
import type { ProcessSource, SourceName } from "./source.ts";

export const sourceNames = ["bpf", "procfs-gated", "procfs"] as const satisfies readonly SourceName[];

export interface OpenedSource {
  readonly source: ProcessSource;
  /** The better ones that do not work here, with why. */
  readonly refused: readonly { readonly name: SourceName; readonly error: ProcscopeError }[];
}

/** One source by name. Throws what keeps it from working here. */
export function openSource(name: SourceName, mount: string = defaultProcMount): ProcessSource {
  switch (name) {
    case "bpf":
      return openBpfSource(mount);
    case "procfs-gated":
      return new GatedProcfsSource({ mount });
    case "procfs":
      return new ProcfsSource({ mount });
  }
}

/** The first of bpf, procfs-gated and procfs that works here. */
export function openBestSource(mount: string = defaultProcMount): OpenedSource {
  const refused: { name: SourceName; error: ProcscopeError }[] = [];
  for (const name of sourceNames) {
    try {
      return { source: openSource(name, mount), refused };
    } catch (error) {
      if (!(error instanceof ProcscopeError)) throw error;
      refused.push({ name, error });
    }
  }
  throw refused.at(-1)!.error;
}
