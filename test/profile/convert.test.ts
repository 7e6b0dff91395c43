import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ProfileBuilder } from "../../src/profile/builder.ts";
import { diffProfiles, diffText } from "../../src/profile/diff.ts";
import { encoders } from "../../src/profile/encoders.ts";
import { topText } from "../../src/profile/top.ts";
import { cliPath } from "../support/cli.ts";
import { goProfile, load, missing, nodeProfile, scratch, workPath } from "./fixtures.ts";

function convert(...words: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [cliPath, "convert", ...words], { encoding: "utf8" });
}

test("convert writes every format, readable by the owner only", () => {
  for (const encoder of encoders) {
    const output = join(scratch, `out${encoder.extensions[0]}`);
    const { status, stderr } = convert(nodeProfile(), output);
    assert.equal(status, 0, `${encoder.name}: ${stderr}`);
    assert.equal(statSync(output).mode & 0o777, 0o600, encoder.name);
    assert.ok(statSync(output).size > 100, encoder.name);
  }
  const speedscope = JSON.parse(readFileSync(join(scratch, "out.speedscope.json"), "utf8")) as {
    shared: { frames: { name: string }[] };
    profiles: { samples: number[][]; weights: number[]; endValue: number; unit: string }[];
  };
  const [sampled] = speedscope.profiles;
  assert.equal(sampled!.samples.length, sampled!.weights.length);
  assert.equal(
    sampled!.weights.reduce((a, b) => a + b, 0),
    sampled!.endValue,
  );
  assert.equal(sampled!.unit, "nanoseconds");
  const frames = speedscope.shared.frames.length;
  assert.ok(sampled!.samples.every((stack) => stack.every((frame) => frame >= 0 && frame < frames)));
  assert.ok(speedscope.shared.frames.some((frame) => frame.name === "tick"));
});

test("-o is the second operand by another name", () => {
  const output = join(scratch, "named.pb.gz");
  assert.equal(convert(nodeProfile(), "-o", output).status, 0);
  assert.ok(statSync(output).size > 100);
  for (const words of [[nodeProfile()], [nodeProfile(), output, "-o", output]]) {
    const { status, stderr } = convert(...words);
    assert.equal(status, 2);
    assert.match(stderr, /(no file|two files) to write/);
  }
});

test("convert says what it cannot do, and leaves nothing behind", () => {
  const before = readdirSync(scratch).sort();
  const unknown = convert(nodeProfile(), join(scratch, "x.docx"));
  assert.equal(unknown.status, 2);
  assert.match(unknown.stderr, /no profile format has the extension[\s\S]*\.pb\.gz/);
  assert.equal(convert(join(scratch, "absent"), join(scratch, "x.pdf")).status, 1);
  const text = convert(workPath, join(scratch, "x.pdf"));
  assert.equal(text.status, 1);
  assert.match(text.stderr, /no profile format that procscope reads/);
  const type = convert("--type", "nope", nodeProfile(), join(scratch, "x.pdf"));
  assert.equal(type.status, 2);
  assert.match(type.stderr, /it has: samples, cpu, wall/);
  assert.deepEqual(readdirSync(scratch).sort(), before);
});

test("convert compares with an earlier profile, and says in JSON what it did", () => {
  const page = join(scratch, "growth.html");
  const json = convert("--json", "--base", nodeProfile(), nodeProfile(), page);
  assert.equal(json.status, 0, json.stderr);
  const said = JSON.parse(json.stdout) as Record<string, unknown>;
  assert.equal(said["schema"], "procscope/convert/1");
  assert.equal(said["bytes"], statSync(page).size);
  const table = join(scratch, "growth.txt");
  assert.equal(convert("--base", nodeProfile(), nodeProfile(), table).status, 0);
  assert.match(readFileSync(table, "utf8"), /No function differs/);
  const other = convert("--base", nodeProfile(), nodeProfile(), join(scratch, "growth.pdf"));
  assert.equal(other.status, 2);
  assert.match(other.stderr, /written as \.html or \.txt/);
  rmSync(page);
  rmSync(table);
});

test("a heap profile of node --heap-prof is read", () => {
  const words = [
    "--heap-prof",
    "--heap-prof-interval",
    "4096",
    "--heap-prof-dir",
    scratch,
    "--heap-prof-name",
    "node.heapprofile",
  ];
  const program = "globalThis.kept = []; function leak() { for (let i = 0; i < 50000; i++) kept.push({ i }); } leak();";
  execFileSync(process.execPath, [...words, "-e", program]);
  const profile = load(join(scratch, "node.heapprofile"));
  assert.deepEqual(profile.sampleTypes, [{ type: "inuse_space", unit: "bytes" }]);
  assert.ok(profile.functions.name.includes("leak"), profile.functions.name.join());
  assert.match(topText(profile, 0), /\dkB +\d\d\.\d\d% +\d\d\.\d\d% .* leak$/m);
});

test("py-spy's raw output is read", { skip: missing("py-spy") || missing("python3") }, () => {
  const program = join(scratch, "spied.py");
  writeFileSync(
    program,
    "import time\ndef spin(n):\n  return sum(i * i for i in range(n))\nend = time.time() + 1.2\nwhile time.time() < end: spin(20000)\n",
  );
  const output = join(scratch, "spied.raw");
  execFileSync("py-spy", ["record", "-f", "raw", "-o", output, "--", "python3", program], { stdio: "pipe" });
  const profile = load(output);
  assert.ok(
    profile.functions.name.some((name) => name.startsWith("spin (")),
    profile.functions.name.join(),
  );
  const sum = profile.samples.values[0]!.reduce((a, b) => a + b, 0);
  const lines = readFileSync(output, "utf8").trim().split("\n");
  assert.equal(
    sum,
    lines.reduce((total, line) => total + Number(line.slice(line.lastIndexOf(" "))), 0),
  );
});

test("perf's script output is read", { skip: missing("perf") }, (t) => {
  const data = join(scratch, "perf.data");
  const recorded = spawnSync(
    "perf",
    [
      "record",
      "-q",
      "-e",
      "cpu-clock",
      "-F",
      "499",
      "-g",
      "-o",
      data,
      "--",
      process.execPath,
      "--perf-basic-prof",
      workPath,
      "500",
    ],
    { encoding: "utf8", cwd: scratch },
  );
  if (recorded.status !== 0 || !existsSync(data)) return t.skip(`perf cannot record here: ${recorded.stderr}`);
  const text = execFileSync("perf", ["script", "-i", data], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const path = join(scratch, "perf.txt");
  writeFileSync(path, text);
  const profile = load(path);
  const headers = text.split("\n").filter((line) => /cpu-clock/.test(line)).length;
  assert.equal(
    profile.samples.values[0]!.reduce((a, b) => a + b, 0),
    headers,
  );
  assert.ok(
    profile.functions.name.some((name) => /update/.test(name)),
    "JavaScript names of the perf map",
  );
});

test("a difference names what grew and what shrank, and can compare shares", () => {
  const of = (values: Record<string, number>) => {
    const builder = new ProfileBuilder({ sampleTypes: [{ type: "cpu", unit: "nanoseconds" }] });
    const main = builder.location(builder.function("main", "m.go"));
    for (const [name, value] of Object.entries(values))
      builder.add(builder.stack([builder.location(builder.function(name, "m.go")), main]), [value]);
    return builder.finish();
  };
  const before = of({ parse: 100e6, sort: 50e6, same: 10e6 });
  const after = of({ parse: 40e6, sort: 120e6, same: 10e6, fresh: 5e6 });
  const diff = diffProfiles(before, after);
  assert.deepEqual(
    diff.changes.map((change) => [change.name, change.flatAfter - change.flatBefore]),
    [
      ["sort", 70e6],
      ["parse", -60e6],
      ["fresh", 5e6],
      ["main", 0],
    ],
  );
  assert.deepEqual([diff.totalBefore, diff.totalAfter], [160e6, 175e6]);
  const text = diffText(diff);
  assert.match(text, /160ms before, 175ms after: \+15ms \(\+9\.38%\)/);
  assert.match(text, /50ms +120ms +\+70ms +\+70ms +sort/);
  assert.doesNotMatch(text, / same/);
  const shares = diffProfiles(before, of({ parse: 200e6, sort: 100e6, same: 20e6 }), { normalize: true });
  assert.deepEqual([shares.scale, shares.changes], [2, []]);
  assert.match(diffText(shares), /No function differs/);
});

test("profiles that measure different things are not compared", { skip: missing("go") }, () => {
  assert.throws(() => diffProfiles(load(goProfile("goroutine")), load(goProfile("heap"))), {
    code: "USAGE",
    message: /different things/,
  });
});
