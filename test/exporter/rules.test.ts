/** The configuration of groups: process-exporter's file and flags. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseNameFlags, parseRuleFile } from "../../src/exporter/config.ts";
import { goBoolFlags, goValueFlags, parseGoBool, rewriteGoFlags } from "../../src/exporter/flags.ts";
import { compileGoRegexp } from "../../src/exporter/go-regexp.ts";
import { containerId, goBase, parseNameTemplate, podId, systemdUnit } from "../../src/exporter/name-template.ts";
import { RuleNamer } from "../../src/exporter/rules.ts";
import type { ProcessFacts } from "../../src/proc/process-facts.ts";

function facts(comm: string, cmdline: readonly string[] = [], more: Partial<ProcessFacts> = {}): ProcessFacts {
  return { pid: 7, comm, cmdline, startTime: 1_000, username: "root", cgroups: [], exe: "", ...more };
}

async function namerOf(yaml: string): Promise<RuleNamer> {
  return new RuleNamer(await parseRuleFile(yaml));
}

const nameOf = (namer: RuleNamer, process: ProcessFacts): string | undefined => namer.name(process)?.name;

describe("the configuration file", () => {
  it("scenario 10: exe items match only their own; templates", async () => {
    const shells = await namerOf("process_names: [{exe: [bash]}, {exe: [sh]}, {exe: [/bin/ksh]}]");
    assert.equal(nameOf(shells, facts("bash", ["/bin/bash"])), "bash");
    assert.equal(nameOf(shells, facts("sh", ["sh"])), "sh");
    assert.equal(nameOf(shells, facts("ksh", ["/bin/ksh"])), "ksh");
    assert.equal(nameOf(shells, facts("ksh", ["/usr/bin/ksh"])), undefined);
    assert.equal(nameOf(shells, facts("bash", [])), undefined);
    const named = await namerOf(`
process_names:
  - exe: [postmaster]
    cmdline: ['-D\\s+.+?(?P<Path>[^/]+)(?:$|\\s)']
    name: "{{.ExeBase}}:{{.Matches.Path}}"
  - exe: [prometheus]
    name: "{{.ExeFull}}"
`);
    assert.equal(nameOf(named, facts("postmaster", ["/usr/bin/postmaster", "-D", "/data/pg"])), "postmaster:pg");
    assert.equal(nameOf(named, facts("prometheus", ["/usr/local/bin/prometheus"])), "/usr/local/bin/prometheus");
  });

  it("two exe entries of one base name both match (process-exporter: only the last)", async () => {
    const namer = await namerOf("process_names: [{name: s, exe: [/a/shorty2, /opt/x/shorty2]}]");
    assert.equal(nameOf(namer, facts("s", ["/a/shorty2"])), "s");
    assert.equal(nameOf(namer, facts("s", ["/opt/x/shorty2"])), "s");
    assert.equal(nameOf(namer, facts("s", ["/b/shorty2"])), undefined);
  });

  it("conditions of one item must all hold, lists of comm are alternatives, of cmdline all; the first item wins", async () => {
    const namer = await namerOf(`
process_names:
  - {name: both, comm: [java, jvm], cmdline: ["-jar (?P<Jar>\\\\S+)", "-X"]}
  - {name: "rest-{{.Comm}}-{{.Matches.Jar}}", cmdline: [".+"]}
`);
    assert.equal(nameOf(namer, facts("jvm", ["jvm", "-X", "-jar", "a.jar"])), "both");
    assert.equal(nameOf(namer, facts("jvm", ["jvm", "-jar", "a.jar"])), "rest-jvm-");
    assert.equal(nameOf(namer, facts("kthreadd")), undefined);
  });

  it("reads texts as Go's YAML does, ignores unknown keys, and takes an empty file", async () => {
    const namer = await namerOf("extra: 1\nprocess_names: [{comm: [123, yes, 1.50]}, {comm: single, other: x}]");
    assert.equal(nameOf(namer, facts("yes")), "yes");
    assert.equal(nameOf(namer, facts("1.50")), "1.50");
    assert.equal(nameOf(namer, facts("single")), "single");
    assert.equal((await namerOf("")).ruleCount, 0);
    assert.equal((await namerOf("{}")).ruleCount, 0);
  });

  it("says what is wrong", async () => {
    for (const [yaml, message] of [
      ["process_names: 3", /not a list/],
      ["process_names: [{name: x}]", /process_names\[0\]: no matchers/],
      ["process_names: [{cmdline: ['(']}]", /bad regular expression/],
      ["process_names: [{comm: [a], name: '{{.Nothing}}'}]", /bad name template/],
      ["process_names: [{comm: [a], name: '{{.Comm'}]", /unclosed/],
      ["process_names: [a", /not YAML/],
    ] as const) {
      await assert.rejects(parseRuleFile(yaml), (error: Error & { code?: string }) => {
        assert.equal(error.code, "USAGE");
        assert.match(error.message, message);
        return true;
      });
    }
  });

  it("puts labels on groups, of items and of all", async () => {
    const rules = await parseRuleFile('process_names: [{comm: [a], labels: {team: "x-{{.Comm}}"}}]');
    const namer = new RuleNamer(rules, new Map([["user", parseNameTemplate("{{.Username}}")]]));
    assert.deepEqual(namer.name(facts("a"))?.labels, { user: "root", team: "x-a" });
    assert.throws(() => new RuleNamer(rules, new Map([["groupname", parseNameTemplate("x")]])), { code: "USAGE" });
  });

  it("knows the groups that exist whatever runs", async () => {
    const namer = await namerOf('process_names: [{name: web, comm: [nginx]}, {name: "{{.Comm}}", cmdline: [.]}]');
    assert.deepEqual(namer.fixedNames, [{ name: "web", labels: {} }]);
  });

  it("explains", async () => {
    const namer = await namerOf("process_names: [{name: x, comm: [no]}, {name: y, comm: [a], cmdline: [b]}]");
    const outcomes = namer.explain(facts("a", ["a", "b"]));
    assert.deepEqual(
      outcomes.map((o) => [o.origin, o.naming?.name, o.conditions.map((c) => c.matched)]),
      [
        ["process_names[0]", undefined, [false]],
        ["process_names[1]", "y", [true, true]],
      ],
    );
  });
});

describe("name templates", () => {
  const render = (text: string, process: ProcessFacts, matches: [string, string][] = []): string =>
    parseNameTemplate(text).render(process, new Map(matches));

  it("renders every field as Go does", () => {
    const process = facts("comm", ["/usr/bin/prog", "-x"], {
      startTime: 1508453571.19,
      cgroups: ["/a", "/b"],
      username: "www",
    });
    assert.equal(render("{{.Comm}}|{{.ExeBase}}|{{.ExeFull}}", process), "comm|prog|/usr/bin/prog");
    assert.equal(render("{{.Username}} {{.PID}} {{ .Cgroups }}", process), "www 7 [/a /b]");
    assert.equal(render("{{.StartTime}}", process), "2017-10-19 22:52:51.19 +0000 UTC");
    assert.equal(render("{{.StartTime}}", facts("a", [], { startTime: 1000 })), "1970-01-01 00:16:40 +0000 UTC");
    assert.equal(render("{{index .Cgroups 1}} {{.Matches.A}}{{.Matches.B}}", process, [["A", "1"]]), "/b 1");
    assert.equal(render("a {{- .Comm -}} b{{/* c */}}", process), "acommb");
    assert.equal(render("{{if .Matches.A}}yes{{else}}no{{end}}!", process), "no!");
    assert.equal(render("{{.ExeBase}}/{{.ExeFull}}", facts("kthread")), "kthread/kthread");
  });

  it("has Go's base names", () => {
    assert.deepEqual(["/a/b/", "", "/", "b", "nginx: master process"].map(goBase), [
      "b",
      ".",
      "/",
      "b",
      "nginx: master process",
    ]);
  });

  it("finds container, pod and unit in control groups", () => {
    const id = "0123456789abcdef".repeat(4);
    assert.equal(containerId([`/system.slice/docker-${id}.scope`]), id);
    assert.equal(containerId([`/kubepods/burstable/pod1/${id}`]), id);
    assert.equal(containerId([`/kubepods.slice/cri-containerd-${id}.scope`]), id);
    assert.equal(containerId(["/user.slice"]), "");
    const pod = "aaaaaaaa_bbbb_cccc_dddd_eeeeeeeeeeee";
    assert.equal(podId([`/kubepods.slice/kubepods-pod${pod}.slice/x`]), pod.replaceAll("_", "-"));
    assert.equal(systemdUnit(["/system.slice/nginx.service"]), "nginx.service");
    assert.equal(systemdUnit(["/user.slice/user-0.slice/session-1.scope"]), "session-1.scope");
  });
});

describe("Go's regular expressions", () => {
  it("are translated", () => {
    assert.equal(compileGoRegexp("(?i)ABC").test("xabcx"), true);
    assert.equal(compileGoRegexp("\\Aab\\z").test("ab"), true);
    assert.equal(compileGoRegexp("\\Aab\\z").test("abc"), false);
    assert.equal(compileGoRegexp("[[:alpha:]]+[[:digit:]]").exec("--ab1")?.[0], "ab1");
    assert.equal(compileGoRegexp("\\Qa.b\\E+").exec("a.bb")?.[0], "a.bb");
    assert.equal(compileGoRegexp("(?P<Name>x)\\[:alpha:]").exec("x[:alpha:]")?.groups?.["Name"], "x");
    assert.throws(() => compileGoRegexp("a(?P<b"), { code: "USAGE" });
  });
});

describe("the flags", () => {
  it("-procnames and -namemapping", () => {
    const namer = new RuleNamer(parseNameFlags("bash,python2,sshd", "python2,([^/]+)\\.py,java,-jar\\s+([^/]+).jar"));
    assert.equal(nameOf(namer, facts("bash", ["bash"])), "bash");
    assert.equal(nameOf(namer, facts("python2", ["python2", "/x/tool.py"])), "python2:tool");
    assert.equal(nameOf(namer, facts("python2", ["python2"])), undefined);
    assert.equal(nameOf(namer, facts("java", ["java", "-jar", "app.jar"])), "java:app");
    assert.equal(nameOf(namer, facts("nginx", ["nginx"])), undefined);
    assert.throws(() => parseNameFlags("", "a"), { message: /odd number/ });
    assert.throws(() => parseNameFlags("", "a,"), { message: /token 1 is empty/ });
    assert.deepEqual(parseNameFlags("", ""), []);
  });

  it("every flag of process-exporter, in all its spellings", () => {
    const bools = new Set<string>(goBoolFlags);
    const values = new Set<string>(goValueFlags);
    const rewrite = (...words: string[]): string[] => rewriteGoFlags(words, bools, values);
    assert.equal(goBoolFlags.length + goValueFlags.length, 17);
    for (const name of goBoolFlags) {
      for (const dash of ["-", "--"]) {
        assert.deepEqual(rewrite(`${dash}${name}`), [`--${name}=true`]);
        assert.deepEqual(rewrite(`${dash}${name}=false`, "x"), [`--${name}=false`, "x"]);
        assert.deepEqual(rewrite(`${dash}${name}`, "false"), [`--${name}=true`, "false"]);
      }
    }
    for (const name of goValueFlags) {
      for (const dash of ["-", "--"]) {
        assert.deepEqual(rewrite(`${dash}${name}`, "-v=1"), [`--${name}=-v=1`]);
        assert.deepEqual(rewrite(`${dash}${name}=a=b`), [`--${name}=a=b`]);
      }
      assert.throws(() => rewrite(`-${name}`), { message: /needs an argument/ });
    }
    assert.deepEqual(rewrite("--unknown", "-x", "word"), ["--unknown", "-x", "word"]);
  });

  it("Go's booleans", () => {
    assert.deepEqual(["1", "t", "TRUE", "True"].map(parseGoBool), [true, true, true, true]);
    assert.deepEqual(["0", "F", "false"].map(parseGoBool), [false, false, false]);
    assert.throws(() => parseGoBool("yes"), { code: "USAGE" });
  });
});
