/**
 * Writes BPF programs instruction by instruction (Documentation/bpf/standardization/instruction-set.rst). The programs
 * here are small and made of the offsets that BTF gives, so that no compiler and no library is needed.
 */
import { assert } from "../base/errors.ts";

/** R0 result; R1–R5 arguments, lost at a call; R6–R9 kept; R10 the frame, read only. */
export type BpfRegister = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10;
/** Bytes of a load or store. */
export type BpfWidth = 1 | 2 | 4 | 8;
/** A place to jump to, made by {@link BpfAssembler.label} and put by {@link BpfAssembler.place}. */
export type BpfLabel = { at: number };

/** Helper functions by number (include/uapi/linux/bpf.h, ___BPF_FUNC_MAPPER). */
export const bpfHelper = {
  mapLookupElem: 1,
  probeReadUser: 112,
  probeReadKernel: 113,
  seqWrite: 127,
  ringbufReserve: 131,
  ringbufSubmit: 132,
  ringbufDiscard: 133,
} as const;

const sizeBits: Record<BpfWidth, number> = { 4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18 };
const arithmetic = { add: 0x00, sub: 0x10, mul: 0x20, or: 0x40, and: 0x50, shl: 0x60, shr: 0x70, mov: 0xb0 } as const;
const comparison = { eq: 0x10, gt: 0x20, ge: 0x30, ne: 0x50, sgt: 0x60, lt: 0xa0, le: 0xb0 } as const;

export type BpfArithmetic = keyof typeof arithmetic;
export type BpfComparison = keyof typeof comparison;

export class BpfAssembler {
  readonly #instructions: bigint[] = [];
  readonly #jumps: { from: number; to: BpfLabel }[] = [];

  /** target = *(width *)(source + offset) */
  load(width: BpfWidth, target: BpfRegister, source: BpfRegister, offset: number): this {
    return this.#emit(0x61 | sizeBits[width], target, source, offset, 0);
  }

  /** *(width *)(target + offset) = source */
  store(width: BpfWidth, target: BpfRegister, offset: number, source: BpfRegister): this {
    return this.#emit(0x63 | sizeBits[width], target, source, offset, 0);
  }

  /** *(width *)(target + offset) = value */
  storeValue(width: BpfWidth, target: BpfRegister, offset: number, value: number): this {
    return this.#emit(0x62 | sizeBits[width], target, 0, offset, value);
  }

  /** *(u64 *)(target + offset) += source, atomically. */
  atomicAdd(target: BpfRegister, offset: number, source: BpfRegister): this {
    return this.#emit(0xdb, target, source, offset, 0);
  }

  /** target = target op source; 64 bits wide. */
  compute(op: BpfArithmetic, target: BpfRegister, source: BpfRegister): this {
    return this.#emit(0x0f | arithmetic[op], target, source, 0, 0);
  }

  /** target = target op value; the value is 32 bits, sign-extended. */
  computeValue(op: BpfArithmetic, target: BpfRegister, value: number): this {
    return this.#emit(0x07 | arithmetic[op], target, 0, 0, value);
  }

  /** target = value, all 64 bits. */
  setWide(target: BpfRegister, value: bigint): this {
    return this.#wide(target, 0, value);
  }

  /** target = the map behind a file descriptor. */
  setMap(target: BpfRegister, fd: number): this {
    return this.#wide(target, 1, BigInt(fd));
  }

  /** Jumps where `register comparison value` holds; compares 64 bits. */
  jumpIf(op: BpfComparison, register: BpfRegister, value: number, to: BpfLabel): this {
    this.#jumps.push({ from: this.#instructions.length, to });
    return this.#emit(0x05 | comparison[op], register, 0, 0, value);
  }

  /** Jumps where `register comparison other` holds; compares 64 bits. */
  jumpIfRegister(op: BpfComparison, register: BpfRegister, other: BpfRegister, to: BpfLabel): this {
    this.#jumps.push({ from: this.#instructions.length, to });
    return this.#emit(0x0d | comparison[op], register, other, 0, 0);
  }

  jump(to: BpfLabel): this {
    this.#jumps.push({ from: this.#instructions.length, to });
    return this.#emit(0x05, 0, 0, 0, 0);
  }

  /** Calls a helper by its number. */
  call(helper: number): this {
    return this.#emit(0x85, 0, 0, 0, helper);
  }

  /** Ends the program with a value. */
  exit(value: number): this {
    return this.computeValue("mov", 0, value).#emit(0x95, 0, 0, 0, 0);
  }

  label(): BpfLabel {
    return { at: -1 };
  }

  place(label: BpfLabel): this {
    label.at = this.#instructions.length;
    return this;
  }

  /** The program as the kernel wants it: 8 bytes an instruction. */
  assemble(): Buffer {
    const code = Buffer.alloc(this.#instructions.length * 8);
    this.#instructions.forEach((instruction, i) => {
      code.writeBigUInt64LE(instruction, i * 8);
    });
    for (const { from, to } of this.#jumps) {
      assert(to.at >= 0, "a BPF jump to a label that was never placed");
      code.writeInt16LE(to.at - from - 1, from * 8 + 2);
    }
    return code;
  }

  #wide(target: BpfRegister, kind: number, value: bigint): this {
    const low = Number(BigInt.asIntN(32, value));
    const high = Number(BigInt.asIntN(32, value >> 32n));
    return this.#emit(0x18, target, kind, 0, low).#emit(0, 0, 0, 0, high);
  }

  #emit(code: number, target: number, source: number, offset: number, immediate: number): this {
    assert(offset >= -32768 && offset < 32768, `a BPF offset of ${offset} does not fit`);
    this.#instructions.push(
      BigInt(code) |
        (BigInt(target | (source << 4)) << 8n) |
        (BigInt.asUintN(16, BigInt(offset)) << 16n) |
        (BigInt.asUintN(32, BigInt(immediate)) << 32n),
    );
    return this;
  }
}
