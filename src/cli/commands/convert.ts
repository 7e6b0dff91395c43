import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { errnoOf, exitStatus, ProcscopeError } from "../../base/errors.ts";
import { encoderFor, encoders } from "../../profile/encoders.ts";
import type { Profile } from "../../profile/model.ts";
import { decodeProfile } from "../../profile/readers.ts";
import { defineCommand, option } from "../command.ts";
import { notice, openSink } from "../output.ts";

export const command = defineCommand({
  name: "convert",
  operands: "<in> <out>",
  description:
    "Converts a profile. What <in> is is told by its content: pprof, V8's .cpuprofile and .heapprofile, folded stacks,\n" +
    "the text of perf script. What <out> becomes is told by its extension:\n" +
    encoders.map((one) => `  ${one.extensions[0]!.padEnd(16)} ${one.what}`).join("\n"),
  options: {
    type: option<string>(
      "--type <name>",
      "the sample type to show (cpu, inuse_space …), where the format holds only one",
    ),
    title: option<string>("--title <text>", "what the profile is of, for pages and graphs (default: the name of <in>)"),
  },
  examples: [
    ["procscope convert app.cpuprofile app.pb.gz", "from Node to go tool pprof"],
    ["procscope convert cpu.pb.gz cpu.html", "a flame graph page"],
    ["procscope convert --type inuse_space heap.pb.gz heap.pdf", "the call graph of live memory"],
  ],
  async run({ options, operands, signal }) {
    const [input, output] = operands as [string, string];
    const encoder = encoderFor(output);
    const progress = new Progress();
    progress.say(`reading ${input}`);
    const profile = readProfile(input);
    const sink = openSink(output);
    try {
      const title = options.title ?? basename(input);
      const onProgress = (part: number): void => progress.say(`writing ${output}: ${Math.floor(part * 100)}%`);
      for await (const chunk of encoder.encode(profile, { title, type: options.type, onProgress })) {
        if (signal.aborted) {
          sink.discard();
          return exitStatus.interrupted;
        }
        sink.write(chunk);
      }
    } catch (error) {
      sink.discard();
      throw error;
    } finally {
      progress.clear();
    }
    sink.close();
    notice(`${output}: ${profile.samples.count} samples of ${profile.stacks.count - 1} stacks`);
    return exitStatus.ok;
  },
});

/** Reads a profile file; `-` is standard input. Throws UNREADABLE or MALFORMED. */
export function readProfile(path: string): Profile {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path === "-" ? 0 : path);
  } catch (error) {
    throw new ProcscopeError("UNREADABLE", `cannot read ${path}: ${errnoOf(error) ?? error}`, { cause: error });
  }
  return decodeProfile(bytes, path);
}

/** One line on a terminal's standard error that is written over. */
class Progress {
  private shown = 0;
  private readonly on = process.stderr.isTTY === true;

  say(text: string): void {
    const now = Date.now();
    if (!this.on || now - this.shown < 100) return;
    this.shown = now;
    process.stderr.write(`\r\x1b[K${text}`);
  }

  clear(): void {
    if (this.on && this.shown > 0) process.stderr.write("\r\x1b[K");
  }
}
