import assert from "node:assert/strict";
import { test } from "node:test";
import { printedName, shownByName, tracebackRules } from "../../src/go/traceback-rules.ts";
import { lastName } from "../../src/views/summary.ts";

test("type arguments are shortened as each version prints them", () => {
  const shape = "main.(*box[go.shape.struct { main.X int }]).wait";
  assert.equal(printedName(shape, tracebackRules(20)), shape);
  assert.equal(printedName(shape, tracebackRules(21)), "main.(*box[...]).wait");
  assert.equal(printedName(shape, tracebackRules(27)), "main.(*box[...]).wait");
  assert.equal(printedName("main.plain", tracebackRules(27)), "main.plain");
  // A type argument that is generic itself, and a generic method of a generic type.
  assert.equal(printedName("main.f[main.T[int]]", tracebackRules(27)), "main.f[...]");
  assert.equal(printedName("main.(*T[int]).m[string]", tracebackRules(27)), "main.(*T[...]).m[...]");
  assert.equal(printedName("main.(*T[int]).m[string]", tracebackRules(26)), "main.(*T[...]");
  assert.equal(printedName("main.f]x[", tracebackRules(27)), "main.f]x[");
});

test("the runtime's unexported functions are hidden", () => {
  for (const minor of [16, 22, 23, 27]) {
    const rules = tracebackRules(minor);
    assert.ok(shownByName("main.main", rules));
    assert.ok(shownByName("runtime.GC", rules));
    assert.ok(!shownByName("runtime.gopark", rules));
    assert.ok(!shownByName("goexit", rules), "a name without a dot is assembly's");
  }
  assert.ok(!shownByName("runtime.(*Frames).Next", tracebackRules(22)));
  assert.ok(shownByName("runtime.(*Frames).Next", tracebackRules(23)));
  assert.ok(!shownByName("runtime.(*mheap).Alloc", tracebackRules(23)));
});

test("rules of versions newer than all known are the newest ones", () => {
  assert.deepEqual(tracebackRules(99), tracebackRules(27));
  assert.equal(tracebackRules(19).inlinedCall.size, 20);
  assert.equal(tracebackRules(20).inlinedCall.size, 16);
  assert.deepEqual(
    [16, 17, 18, 21, 22, 24, 25, 27].map((minor) => tracebackRules(minor).wrapperId),
    [22, 22, 21, 21, 22, 22, 23, 23],
  );
});

test("a summary shows what stands after a name's last dot", () => {
  assert.equal(lastName("net/http.(*Server).Serve"), "Serve");
  assert.equal(lastName("os/signal.init.0"), "0");
  assert.equal(lastName("main.pair[...]"), "pair[...]");
  assert.equal(lastName("main.(*box[...]).wait"), "wait");
  assert.equal(lastName("main.f[a/b.T]"), "f[a/b.T]");
  assert.equal(lastName("cfunction"), "cfunction");
});
