import { ProfileBuilder } from "./builder.ts";
import { ProfileCopier } from "./copy.ts";
import type { Profile } from "./model.ts";

/**
 * Takes Node's own start-up and module loading out of the way: of each run of frames of `node:internal/…` between the
 * root and the first other frame, and of each run of the module loader, only the innermost frame stays: the one that
 * called the program's code. Samples, values and times stay as they are.
 */
export function collapseNodeInternals(profile: Profile): Profile {
  const internal = new Uint8Array(profile.locations.count);
  const loader = new Uint8Array(profile.locations.count);
  for (let id = 0; id < profile.locations.count; id++) {
    const { name, file } = innermost(profile, id);
    // Built-in functions have no file; V8's own entries like (program) are in brackets.
    internal[id] = file.startsWith("node:internal/") || (file === "" && !name.startsWith("(")) ? 1 : 0;
    loader[id] = file.startsWith("node:internal/modules/") ? 1 : 0;
  }
  return rebuild(profile, internal, loader);
}

function innermost(profile: Profile, location: number): { name: string; file: string } {
  const { firstLine, lineFunction } = profile.locations;
  const at = firstLine[location]!;
  if (at >= firstLine[location + 1]!) return { name: "(unknown)", file: "" };
  const fn = lineFunction[at]!;
  return { name: profile.functions.name[fn]!, file: profile.functions.filename[fn]! };
}

function rebuild(profile: Profile, internal: Uint8Array, loader: Uint8Array): Profile {
  const { stacks, samples } = profile;
  const timed = samples.time !== undefined;
  const builder = new ProfileBuilder({ ...profile, timed });
  const copier = new ProfileCopier(profile, builder);
  /** The new stack of each old one, the new stack below its top frame, and whether it is internal down to the root. */
  const made = new Int32Array(stacks.count);
  const below = new Int32Array(stacks.count);
  const boot = new Uint8Array(stacks.count);
  boot[0] = 1;
  for (let stack = 1; stack < stacks.count; stack++) {
    const parent = stacks.parent[stack]!;
    const location = stacks.location[stack]!;
    boot[stack] = boot[parent]! & internal[location]!;
    const sameRun =
      boot[stack] === 1 || (parent > 0 && loader[location] === 1 && loader[stacks.location[parent]!] === 1);
    // In a run the inner frame takes the place of the outer one.
    below[stack] = sameRun && parent > 0 ? below[parent]! : made[parent]!;
    made[stack] = builder.push(below[stack]!, copier.location(location));
  }
  const values = new Float64Array(profile.sampleTypes.length);
  for (let row = 0; row < samples.count; row++) {
    for (let type = 0; type < values.length; type++) values[type] = samples.values[type]![row]!;
    builder.add(made[samples.stack[row]!]!, values, copier.labels(samples.labels[row]!), samples.time?.[row] ?? 0);
  }
  return builder.finish();
}
