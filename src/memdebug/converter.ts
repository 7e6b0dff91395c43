/** The converting process of conversion.ts: reads one raw profile, writes one file, removes the raw one. */
import { readFileSync, rmSync } from "node:fs";
import { letNodeEnd } from "../base/clean-exit.ts";
import { ProcscopeError } from "../base/errors.ts";
import { collapseNodeInternals } from "../profile/collapse.ts";
import { encoderFor } from "../profile/encoders.ts";
import type { Profile } from "../profile/model.ts";
import { decodeV8Cpu } from "../profile/v8-cpu.ts";
import { decodeV8Heap } from "../profile/v8-heap.ts";
import { type ConversionJob, writePrivate } from "./conversion.ts";
import { SourceMaps } from "./source-maps.ts";

function read(job: ConversionJob): Profile {
  const raw = readFileSync(job.raw);
  const about = {
    mapper: new SourceMaps(),
    timeNanos: BigInt(job.timeNanos),
    program: job.program,
    comments: job.comments,
  };
  const { durationNanos, period } = job;
  const profile =
    job.kind === "cpu"
      ? decodeV8Cpu(raw, about)
      : decodeV8Heap(JSON.parse(raw.toString()), { ...about, durationNanos, period });
  return job.collapse ? collapseNodeInternals(profile) : profile;
}

async function run(job: ConversionJob): Promise<void> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of encoderFor(job.output).encode(read(job))) {
    chunks.push(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
  }
  writePrivate(job.output, Buffer.concat(chunks));
  rmSync(job.raw, { force: true });
}

run(JSON.parse(process.argv[2] ?? "") as ConversionJob)
  .catch((error: unknown) => {
    process.stderr.write(error instanceof ProcscopeError ? error.message : String(error));
    process.exitCode = 1;
  })
  .then(letNodeEnd);
