/** Writes the part of a BPF program that copies members of kernel structures into a record. */
import type { BpfAssembler, BpfRegister, BpfWidth } from "./bpf-assembler.ts";
import type { Btf, BtfId } from "./btf.ts";

export class BpfRecordWriter {
  readonly btf: Btf;
  readonly asm: BpfAssembler;
  readonly #target: BpfRegister;
  readonly #base: number;

  /** The record lies `base` bytes from what the register `target` points to. R2 and R8 are used up by the copies. */
  constructor(btf: Btf, asm: BpfAssembler, target: BpfRegister, base: number) {
    this.btf = btf;
    this.asm = asm;
    this.#target = target;
    this.#base = base;
  }

  /** Copies the first member of these names that the structure has to the record, cut or widened to `width`. */
  copy(source: BpfRegister, type: BtfId, to: number, width: BpfWidth, ...paths: readonly string[]): void {
    const member = this.btf.member(type, ...paths);
    const from: BpfWidth = member.size >= 8 ? 8 : member.size >= 4 ? 4 : member.size >= 2 ? 2 : 1;
    this.copyAt(source, member.offset, from, to, width);
  }

  /** Copies `from` bytes at an offset of what a register points to. */
  copyAt(source: BpfRegister, offset: number, from: BpfWidth, to: number, width: BpfWidth): void {
    this.asm.load(from, 2, source, offset).store(width, this.#target, this.#base + to, 2);
  }

  /** Copies 16 bytes of a command name. */
  copyComm(source: BpfRegister, task: BtfId, to: number): void {
    const comm = this.btf.member(task, "comm").offset;
    this.copyAt(source, comm, 8, to, 8);
    this.copyAt(source, comm + 8, 8, to + 8, 8);
  }

  /** Writes zeros from one place of the record up to another, both multiples of 8. */
  clear(from: number, to: number): void {
    for (let at = from; at < to; at += 8) this.asm.storeValue(8, this.#target, this.#base + at, 0);
  }

  setValue(width: BpfWidth, to: number, value: number): void {
    this.asm.storeValue(width, this.#target, this.#base + to, value);
  }

  /** Follows a pointer member into R8 and runs `body` for the type behind it; skips it where the pointer is null. */
  through(source: BpfRegister, type: BtfId, path: string, body: (pointee: BtfId) => void): void {
    const member = this.btf.member(type, path);
    const none = this.asm.label();
    this.asm.load(8, 8, source, member.offset).jumpIf("eq", 8, 0, none);
    body(this.btf.pointee(member.type));
    this.asm.place(none);
  }
}
