import type { LabelSetId, LocationId, ProfileBuilder, StackId } from "./builder.ts";
import type { Profile } from "./model.ts";

/** Takes over the tables of one profile into the builder of another; each thing is copied when first asked for. */
export class ProfileCopier {
  private readonly profile: Profile;
  private readonly builder: ProfileBuilder;
  private readonly locations: Int32Array;
  private readonly labelSets: Int32Array;
  private readonly functions: Int32Array;
  private readonly mappings: Int32Array;

  constructor(profile: Profile, builder: ProfileBuilder) {
    this.profile = profile;
    this.builder = builder;
    this.locations = new Int32Array(profile.locations.count).fill(-1);
    this.labelSets = new Int32Array(profile.labelSets.length).fill(-1);
    this.functions = new Int32Array(profile.functions.count).fill(-1);
    this.mappings = Int32Array.from(profile.mappings, (mapping) => builder.mapping(mapping));
  }

  location(id: number): LocationId {
    const known = this.locations[id]!;
    if (known >= 0) return known;
    const { locations } = this.profile;
    const lines: number[] = [];
    for (let at = locations.firstLine[id]!; at < locations.firstLine[id + 1]!; at++) {
      const fn = this.function(locations.lineFunction[at]!);
      lines.push(fn, locations.lineNumber[at]!, locations.lineColumn[at]!);
    }
    const address = locations.address[id]!;
    const mapping = locations.mapping[id]! < 0 ? -1 : this.mappings[locations.mapping[id]!]!;
    const made = this.builder.inlinedLocation(lines, { address, mapping, folded: locations.folded[id] === 1 });
    this.locations[id] = made;
    return made;
  }

  labels(id: number): LabelSetId {
    const known = this.labelSets[id]!;
    if (known >= 0) return known;
    const made = this.builder.labels(this.profile.labelSets[id]!);
    this.labelSets[id] = made;
    return made;
  }

  /** All stacks of the profile, as they are. */
  stacks(): Int32Array {
    const { parent, location, count } = this.profile.stacks;
    const copied = new Int32Array(count);
    for (let stack = 1; stack < count; stack++) {
      copied[stack] = this.builder.push(copied[parent[stack]!]! as StackId, this.location(location[stack]!));
    }
    return copied;
  }

  private function(id: number): number {
    const known = this.functions[id]!;
    if (known >= 0) return known;
    const { name, filename, startLine, systemName, startColumn } = this.profile.functions;
    const made = this.builder.function(name[id]!, filename[id]!, startLine[id]!, systemName[id]!, startColumn[id]!);
    this.functions[id] = made;
    return made;
  }
}
