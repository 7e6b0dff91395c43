import type { GoroutineReader } from "../go/goroutine-reader.ts";
import { stackBottom } from "../go/source-frames.ts";
import { ProfileBuilder, type StackId } from "../profile/builder.ts";
import type { Profile } from "../profile/model.ts";
import { countStacks, type StackEntry } from "./counted-stacks.ts";
import type { DumpOptions, DumpTally } from "./dump.ts";
import type { DumpSubject } from "./dump-records.ts";

/** Goroutines as runtime/pprof's goroutine profile has them: how many have each stack, labels included. */
export function goroutineProfile(
  reader: GoroutineReader,
  options: DumpOptions,
  tally: DumpTally,
  subject: DumpSubject,
): Profile {
  const type = { type: "goroutine", unit: "count" };
  const timeNanos = BigInt(Date.now()) * 1_000_000n;
  const builder = new ProfileBuilder({ sampleTypes: [type], periodType: type, period: 1, timeNanos });
  const stacks = new StackMaker(builder, reader, subject.program);
  for (const { count, frames, labels } of countStacks(reader, options, tally)) {
    const set = labels ? [...labels].map(([key, text]) => ({ key, text })) : [];
    builder.add(stacks.stack(frames.filter((frame) => frame.function !== stackBottom)), [count], builder.labels(set));
  }
  return builder.finish();
}

class StackMaker {
  private readonly builder: ProfileBuilder;
  private readonly mappings: { readonly text: number; readonly etext: number; readonly index: number }[];

  constructor(builder: ProfileBuilder, reader: GoroutineReader, program: string) {
    this.builder = builder;
    const has = { hasFunctions: true, hasFilenames: true, hasLineNumbers: true, hasInlineFrames: true };
    this.mappings = reader.runtime.modules.map(({ text, etext }) => ({
      text,
      etext,
      index: builder.mapping({ start: BigInt(text), limit: BigInt(etext), file: program, ...has }),
    }));
  }

  /** Calls that share a physical frame share a location. */
  stack(frames: readonly StackEntry[]): StackId {
    const locations: number[] = [];
    for (let at = 0; at < frames.length; ) {
      let end = at + 1;
      // An inlined call and its caller lie in the same function; its own frame ends the physical one.
      while (end < frames.length && isInlined(frames[end - 1]!) && frames[end]!.entry === frames[at]!.entry) end++;
      locations.push(this.location(frames.slice(at, end)));
      at = end;
    }
    return this.builder.stack(locations);
  }

  private location(frames: readonly StackEntry[]): number {
    const lines = frames.flatMap((frame) => [this.builder.function(frame.function, frame.file), frame.line, 0]);
    const { pc } = frames[0]!;
    const mapping = this.mappings.find(({ text, etext }) => pc >= text && pc < etext)?.index ?? -1;
    return this.builder.inlinedLocation(lines, { address: pc, mapping });
  }
}

function isInlined(frame: StackEntry): boolean {
  return "inlined" in frame && frame.inlined === true;
}
