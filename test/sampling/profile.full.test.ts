import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { readProcStatus } from "../../src/kernel/proc-status.ts";
import type { Label, Profile } from "../../src/profile/model.ts";
import { decodeProfile } from "../../src/profile/readers.ts";
import { cliPath, procscope } from "../support/cli.ts";
import { build, GoTarget, type Mode, startHttp } from "../support/go-target.ts";
import { currentGo } from "../support/go-toolchain.ts";

const folder = mkdtempSync(join(tmpdir(), "procscope-profile-"));

after(() => rmSync(folder, { recursive: true, force: true }));

for (const mode of ["plain", "pie-strip"] as const satisfies readonly Mode[]) {
  test(`cpu of a busy Go program, ${mode}: callers, inlined calls, generics, goroutines and their labels`, async () => {
    const target = await startHttp(await build(currentGo, mode, "busy"));
    try {
      const out = join(folder, `${mode}.pb.gz`);
      const { status, stderr } = await procscope([
        "profile",
        "--pid",
        String(target.pid),
        "-d",
        "3",
        // Enough samples also where others crowd the CPU.
        "--rate",
        "399",
        "--user-only",
        "-o",
        out,
      ]);
      assert.equal(status, 0, stderr);
      checkBusy(decodeProfile(readFileSync(out), out));
      assert.match(stderr, / 0 lost/);
      assert.equal(statSync(out).mode & 0o777, 0o600);
    } finally {
      await target.end();
    }
  });
}

function checkBusy(profile: Profile): void {
  const samples = [...samplesOf(profile)];
  const named = (name: string) => samples.filter(({ names }) => names[0] === name);
  const leaf = named("main.leafOnly");
  assert.ok(count(leaf) > 5, "the leaf was sampled");
  const orphans = leaf.filter(({ names }) => names[1] !== "main.leafCaller");
  assert.ok(
    count(orphans) <= 0.02 * count(leaf),
    `${count(orphans)} of ${count(leaf)} samples of the leaf lack its caller`,
  );
  assert.ok(
    samples.some(
      ({ names }) => names[names.indexOf("main.mixStep") + 1] === "main.inlining" && names.includes("main.mixStep"),
    ),
    "inlined calls are there",
  );
  assert.ok(
    samples.some(({ names }) => names.includes("main.sumOf[...]")),
    "generic names are the runtime's",
  );
  assert.ok(!samples.some(({ names }) => names.includes("runtime.goexit")), "goexit is left out");
  const inWork = samples.filter(({ names }) => names.includes("main.work"));
  const withId = inWork.filter(({ labels }) => labels.some((label) => label.key === "goroutine" && "number" in label));
  assert.ok(count(withId) >= 0.99 * count(inWork), `${count(withId)} of ${count(inWork)} samples have their goroutine`);
  const ofLeaf = leaf[0]!.labels;
  assert.deepEqual(textOf(ofLeaf, "kind"), "leaf");
  assert.deepEqual(textOf(ofLeaf, "creator"), "main.main");
  assert.ok(!samples.some(({ names }) => names.includes("[unknown]")), "no unknown function");
}

interface Sample {
  readonly names: string[];
  readonly labels: readonly Label[];
  readonly count: number;
}

function* samplesOf(profile: Profile): Generator<Sample> {
  const { samples, stacks, locations, functions } = profile;
  for (let i = 0; i < samples.count; i++) {
    const names: string[] = [];
    for (let at = samples.stack[i]!; at > 0; at = stacks.parent[at]!) {
      const location = stacks.location[at]!;
      for (let line = locations.firstLine[location]!; line < locations.firstLine[location + 1]!; line++)
        names.push(functions.name[locations.lineFunction[line]!]!);
    }
    yield { names, labels: profile.labelSets[samples.labels[i]!]!, count: samples.values[0]![i]! };
  }
}

function count(samples: readonly Sample[]): number {
  return samples.reduce((sum, sample) => sum + sample.count, 0);
}

function textOf(labels: readonly Label[], key: string): string | undefined {
  const label = labels.find((one) => one.key === key);
  return label && "text" in label ? label.text : undefined;
}

test("wall samples hold every blocked goroutine with its reason, and the target is not stopped", async () => {
  const target = await GoTarget.start(await build(currentGo, "strip"));
  try {
    await target.ask("kinds");
    const out = join(folder, "wall.pb.gz");
    const { status, stderr } = await procscope(["profile", "wall", "--pid", String(target.pid), "-d", "2", "-o", out]);
    assert.equal(status, 0, stderr);
    const states = new Set(
      [...samplesOf(decodeProfile(readFileSync(out), out))].map(({ labels }) => textOf(labels, "state")),
    );
    for (const reason of ["chan receive", "chan send", "select", "sleep", "chan receive (nil chan)"])
      assert.ok(states.has(reason), `${reason} in ${[...states]}`);
  } finally {
    await target.end();
  }
});

test("both: on-CPU and waiting in one profile", async () => {
  const target = await startHttp(await build(currentGo, "plain", "busy"));
  try {
    const out = join(folder, "both.pb.gz");
    const { status, stderr } = await procscope(["profile", "both", "--pid", String(target.pid), "-d", "2", "-o", out]);
    assert.equal(status, 0, stderr);
    const samples = [...samplesOf(decodeProfile(readFileSync(out), out))];
    assert.ok(samples.some(({ names, labels }) => names.includes("main.work") && textOf(labels, "state") === "on CPU"));
    assert.ok(samples.some(({ labels }) => textOf(labels, "state") === "IO wait"));
  } finally {
    await target.end();
  }
});

test("profiling as the target's own unprivileged user works", {
  skip: process.getuid?.() !== 0 && "needs root to become another user",
}, async () => {
  const program = await build(currentGo, "plain", "busy");
  const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const target = spawn(nobody[0]!, [...nobody.slice(1), program], { stdio: ["pipe", "pipe", "inherit"] });
  try {
    await new Promise((resolve) => target.stdout.once("data", resolve));
    const { status, stdout, stderr } = await procscope(["profile", "--pid", String(target.pid), "-d", "1"], {
      by: nobody,
    });
    assert.equal(status, 0, stderr);
    assert.match(stdout, /main\./);
    assert.match(stderr, /user mode only/);
    const refused = await procscope(["profile", "--pid", String(process.pid), "-d", "1"], { by: nobody });
    assert.equal(refused.status, 3, refused.stderr);
  } finally {
    target.kill("SIGKILL");
  }
});

let spinner: ReturnType<typeof spawn>;
before(() => {
  spinner = spawn(process.execPath, ["-e", "for(;;){}"], { stdio: "ignore" });
});
after(() => void spinner.kill("SIGKILL"));

test("a profiler that is killed at any moment leaves its target running", async () => {
  for (let i = 0; i < 10; i++) {
    const child = spawn(process.execPath, [cliPath, "profile", "--pid", String(spinner.pid), "-d", "10"], {
      stdio: "ignore",
    });
    await new Promise((resolve) => setTimeout(resolve, 40 * i));
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
  }
  const { state, tracerPid } = readProcStatus(spinner.pid!);
  assert.equal(state, "R");
  assert.equal(tracerPid, 0);
});

test("continuous profiles rotate, whole and private", async () => {
  const out = join(folder, "rotating");
  const child = spawn(
    process.execPath,
    [cliPath, "profile", "--pid", String(spinner.pid), "--continuous", "--interval", "400ms", "--keep", "2", "-o", out],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let files = 0;
  child.stderr.on("data", (data) => (files += String(data).split("samples,").length - 1));
  while (files < 4 && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 100));
  child.kill("SIGINT");
  await new Promise((resolve) => child.once("exit", resolve));
  const left = readdirSync(out);
  assert.equal(left.length, 2);
  for (const file of left) {
    assert.ok(decodeProfile(readFileSync(join(out, file)), file).samples.count > 0);
    assert.equal(statSync(join(out, file)).mode & 0o777, 0o600);
  }
});

test("wrong words and processes that are not there end with their exit status", async () => {
  assert.equal((await procscope(["profile", "nonsense", "--pid", "1"])).status, 2);
  assert.equal((await procscope(["profile", "--pid", "1", "--rate", "0"])).status, 2);
  assert.equal((await procscope(["profile", "--pid", "999999999"])).status, 4);
  assert.equal((await procscope(["profile"])).status, 2);
  assert.equal((await procscope(["profile", "wall", "--pid", String(spinner.pid), "-d", "1"])).status, 5);
});
