import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ProcscopeError } from "../../src/base/errors.ts";
import { loadProgram } from "../../src/kernel/bpf.ts";
import { BpfAssembler } from "../../src/kernel/bpf-assembler.ts";
import { Btf, btfKind, kernelBtf } from "../../src/kernel/btf.ts";
import { isRoot } from "./targets.ts";

const path = "/sys/kernel/btf/vmlinux";
const withBtf = existsSync(path) ? {} : { skip: "this kernel carries no BTF" };

describe("BTF", withBtf, () => {
  test("members lie where the kernel's interface to user space fixes them", () => {
    const btf = kernelBtf();
    // struct taskstats and struct perf_event_attr are ABI: include/uapi/linux.
    const taskstats = btf.get(btfKind.struct, "taskstats");
    assert.deepEqual(
      ["ac_comm", "ac_uid", "ac_etime", "nvcsw", "ac_tgid"].map((name) => btf.member(taskstats, name).offset),
      [80, 120, 144, 272, 368],
    );
    const attr = btf.get(btfKind.struct, "perf_event_attr");
    // sample_freq is in an anonymous union, sample_max_stack after the bit fields.
    assert.equal(btf.member(attr, "sample_freq").offset, 16);
    assert.equal(btf.member(attr, "sample_period").offset, 16);
    assert.equal(btf.member(attr, "sample_max_stack").offset, 108);
    assert.equal(btf.member(attr, "sample_max_stack").size, 2);
  });

  test("paths, pointers, arrays, names and sizes", () => {
    const btf = kernelBtf();
    const task = btf.get(btfKind.struct, "task_struct");
    const nested = btf.member(task, "se.sum_exec_runtime");
    const se = btf.member(task, "se");
    assert.equal(nested.offset, se.offset + btf.member(se.type, "sum_exec_runtime").offset);
    assert.equal(btf.name(btf.pointee(btf.member(task, "mm").type)), "mm_struct");
    assert.equal(btf.member(task, "comm").size, 16);
    assert.equal(btf.size(btf.element(btf.member(task, "comm").type)!), 1);
    assert.equal(btf.find(btfKind.struct, "no_such_struct"), undefined);
    assert.equal(btf.findMember(task, "se.no_such_member"), undefined);
    assert.equal(btf.member(task, "no_such_member", "pid").size, 4);
    assert.throws(() => btf.member(task, "neither", "nor"), {
      code: "UNSUPPORTED_HERE",
      message: /task_struct.*neither or nor/,
    });
    assert.equal(kernelBtf(), btf, "parsed once");
  });

  test("broken bytes are refused, never looped over", () => {
    const good = readFileSync(path).subarray(0, 400_000);
    assert.throws(() => new Btf(Buffer.from("nothing of the kind, not at all")), { code: "MALFORMED" });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(399_999), fc.nat(255)), { maxLength: 20 }), (changes) => {
        const bytes = Buffer.from(good);
        // Sections cut to what is there, so that the walk begins.
        bytes.writeUInt32LE(200_000, 12);
        bytes.writeUInt32LE(200_000, 16);
        bytes.writeUInt32LE(100_000, 20);
        for (const [at, value] of changes) bytes[at] = value;
        try {
          const btf = new Btf(bytes);
          const id = btf.find(btfKind.struct, "list_head");
          if (id !== undefined) btf.findMember(id, "next.prev.next");
        } catch (error) {
          assert.ok(error instanceof ProcscopeError || error instanceof RangeError, String(error));
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe("BPF programs", isRoot ? withBtf : { skip: "needs root" }, () => {
  test("a jump to a label that was never placed is a bug that is told", () => {
    const asm = new BpfAssembler();
    asm.jump(asm.label()).exit(0);
    assert.throws(() => asm.assemble(), { code: "INTERNAL" });
  });

  test("a program that the verifier refuses is told with its words", () => {
    const code = new BpfAssembler().load(8, 1, 9, 0).exit(0).assemble();
    const attachTo = kernelBtf().get(btfKind.func, "bpf_iter_task");
    assert.throws(
      () => loadProgram({ name: "broken", code, attach: 28, attachTo }),
      (error: unknown) => {
        assert.ok(error instanceof ProcscopeError);
        assert.equal(error.code, "UNSUPPORTED_HERE");
        assert.match(error.message, /R9 !read_ok/);
        return true;
      },
    );
  });
});
