import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { errnoOf, exitStatus, ProcscopeError } from "../../base/errors.ts";
import { formatBytes } from "../../base/quantity.ts";
import { type DiffOptions, diffPage, diffProfiles, diffText } from "../../profile/diff.ts";
import { encoderFor, encoders } from "../../profile/encoders.ts";
import type { Profile } from "../../profile/model.ts";
import { decodeProfile } from "../../profile/readers.ts";
import { defineCommand, flag, option } from "../command.ts";
import { jsonHeader, notice, openSink } from "../output.ts";

export const command = defineCommand({
  name: "convert",
  operands: "<in> [out]",
  description:
    "Converts a profile. What <in> is is told by its content: pprof, V8's .cpuprofile and .heapprofile, folded stacks,\n" +
    "the text of perf script. What <out> becomes is told by its extension:\n" +
    encoders.map((one) => `  ${one.extensions[0]!.padEnd(16)} ${one.what}`).join("\n"),
  options: {
    output: option<string>("-o, --output <file>", "the same as <out>, as other commands take it"),
    type: option<string>(
      "--type <name>",
      "the sample type to show (cpu, inuse_space …), where the format holds only one",
    ),
    title: option<string>("--title <text>", "what the profile is of, for pages and graphs (default: the name of <in>)"),
    base: option<string>(
      "--base <file>",
      "an earlier profile: the difference to it, as a page (.html) or a table (.txt)",
    ),
    normalize: flag("--normalize", "with --base: scale the earlier profile to the total of <in>, to compare shares"),
    json: flag("--json", "print what was converted as JSON"),
  },
  schema: "procscope/convert/1",
  examples: [
    ["procscope convert app.cpuprofile app.pb.gz", "from Node to go tool pprof"],
    ["procscope convert cpu.pb.gz cpu.html", "a flame graph page"],
    ["procscope convert --type inuse_space heap.pb.gz heap.pdf", "the call graph of live memory"],
    ["procscope convert --base monday.pb.gz tuesday.pb.gz growth.html", "what grew (red) and what shrank (blue)"],
  ],
  async run({ options, operands, signal }) {
    const [input, operand] = operands as [string, string?];
    const output = options.output ?? operand;
    if (output === undefined || (options.output !== undefined && operand !== undefined)) {
      throw new ProcscopeError("USAGE", `${output === undefined ? "no file" : "two files"} to write`, {
        hint: "procscope convert IN OUT, or IN -o OUT",
      });
    }
    const encoder = encoderFor(output);
    const progress = new Progress();
    const title = options.title ?? basename(input);
    const onProgress = (part: number): void => progress.say(`writing ${output}: ${Math.floor(part * 100)}%`);
    progress.say(`reading ${input}`);
    const profile = readProfile(input);
    const { type, normalize } = options;
    const chunks =
      options.base === undefined
        ? encoder.encode(profile, { title, type, onProgress })
        : difference(readProfile(options.base), profile, encoder.name, { title, type, normalize });
    const bytes = await writeAll(chunks, output, signal).finally(() => progress.clear());
    if (bytes === undefined) return exitStatus.interrupted;
    const counts = { samples: profile.samples.count, stacks: profile.stacks.count - 1, bytes };
    if (options.json) {
      const about = { input, output, format: encoder.name, sampleTypes: profile.sampleTypes, ...counts };
      openSink().write(`${JSON.stringify(jsonHeader("procscope/convert/1", about))}\n`);
    } else notice(`${output}: ${counts.samples} samples of ${counts.stacks} stacks, ${formatBytes(bytes)}`);
    return exitStatus.ok;
  },
});

/** Writes all chunks; undefined where it was interrupted. Leaves no file behind unless it is whole. */
async function writeAll(chunks: Chunks, output: string, signal: AbortSignal): Promise<number | undefined> {
  const sink = openSink(output);
  let bytes = 0;
  try {
    for await (const chunk of chunks) {
      if (signal.aborted) {
        sink.discard();
        return undefined;
      }
      sink.write(chunk);
      bytes += Buffer.byteLength(chunk);
    }
  } catch (error) {
    sink.discard();
    throw error;
  }
  sink.close();
  return bytes;
}

type Chunks = AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;

function difference(before: Profile, after: Profile, format: string, options: DifferenceOptions): Chunks {
  if (format === "html") return diffPage(before, after, options);
  if (format === "top") return [diffText(diffProfiles(before, after, options), Number.POSITIVE_INFINITY)];
  throw new ProcscopeError("USAGE", "a difference is written as .html or .txt", {
    hint: "procscope diff prints it on the terminal",
  });
}

interface DifferenceOptions extends DiffOptions {
  readonly title: string;
}

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
