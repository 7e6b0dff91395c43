import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { demangle } from "../../src/object/demangle.ts";

test("linkers' names become names for people", () => {
  const names: Record<string, string> = {
    main: "main",
    _ZNSt6vectorIiSaIiEE9push_backEOi: "std::vector<…>::push_back",
    _ZN4core3fmt9Formatter3pad17h0123456789abcdefE: "core::fmt::Formatter::pad",
    "_ZN58_$LT$alloc..string..String$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE":
      "<alloc::string::String as core::fmt::Debug>::fmt",
    _ZZN3foo3barEvENKUlvE_clEv: "foo::bar::{lambda}::operator()",
    _RNvNtCs1234_7mycrate3foo3bar: "mycrate::foo::bar",
    _ZN12_GLOBAL__N_13fooEv: "(anonymous namespace)::foo",
    _ZN3FooC1Ev: "Foo::Foo",
    _ZN3FooD0Ev: "Foo::~Foo",
    _Z3fooi: "foo",
  };
  for (const [name, wanted] of Object.entries(names)) assert.equal(demangle(name), wanted);
});

test("any name is demangled or left as it is, in bounded time", () => {
  const letters = fc.string({
    unit: fc.constantFrom(..."NSTIELXJFZ0123456789_KVRstabclUClDv".split("")),
    maxLength: 200,
  });
  fc.assert(
    fc.property(letters, fc.constantFrom("_Z", "_R", "_ZN", ""), (rest, start) => {
      assert.equal(typeof demangle(start + rest), "string");
    }),
    { seed: 7, numRuns: 5000 },
  );
});
