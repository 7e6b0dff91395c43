/**
 * References of machine code to static data, found without a disassembler. Which runtime function refers to which global,
 * and to which byte of it, is a fact of the source; where the instruction stands is not. So functions whose names the
 * function table always holds are witnesses for the addresses of globals, also in stripped programs.
 */
import type { Address } from "../base/units.ts";
import type { Architecture } from "./architecture.ts";

/** Calls `found` for each address in [`low`, `high`) that the code at `base` refers to; false ones may be among them. */
export function dataReferences(
  architecture: Architecture,
  code: Buffer,
  base: Address,
  low: Address,
  high: Address,
  found: (address: Address) => void,
): void {
  if (architecture.name === "amd64") referencesAmd64(code, base, low, high, found);
  else referencesArm64(code, base, low, high, found);
}

/**
 * Every byte that can be a ModRM with mod 0 and r/m 5 is taken for one: RIP plus a 32-bit displacement, counted from
 * the end of the instruction, so the size of an immediate operand behind it is told from the opcode.
 */
function referencesAmd64(code: Buffer, base: Address, low: Address, high: Address, found: (a: Address) => void): void {
  for (let at = 2; at + 4 <= code.length; at++) {
    const modrm = code[at - 1]!;
    if ((modrm & 0xc7) !== 5) continue;
    const target = base + at + 4 + code.readInt32LE(at) + immediateSize(code, at - 2, modrm);
    if (target >= low && target < high) found(target);
  }
}

function immediateSize(code: Buffer, opcodeAt: number, modrm: number): number {
  const before = opcodeAt > 0 ? code[opcodeAt - 1] : 0;
  switch (code[opcodeAt]) {
    case 0x80:
    case 0x83:
    case 0xc0:
    case 0xc1:
    case 0xc6:
    case 0x6b:
      return 1;
    case 0xba:
      return before === 0x0f ? 1 : 0;
    case 0x81:
    case 0xc7:
    case 0x69:
      return before === 0x66 ? 2 : 4;
    case 0xf6:
      return (modrm & 0x38) < 0x10 ? 1 : 0;
    case 0xf7:
      return (modrm & 0x38) < 0x10 ? 4 : 0;
    default:
      return 0;
  }
}

/** ADRP and, always next to it in Go's code, ADD or a load or store with an unsigned offset from the same register. */
function referencesArm64(code: Buffer, base: Address, low: Address, high: Address, found: (a: Address) => void): void {
  for (let at = 0; at + 8 <= code.length; at += 4) {
    const adrp = code.readUInt32LE(at);
    if ((adrp & 0x9f000000) >>> 0 !== 0x90000000) continue;
    const next = code.readUInt32LE(at + 4);
    if (((next >>> 5) & 31) !== (adrp & 31)) continue;
    const offset = arm64Offset(next);
    if (offset < 0) continue;
    const pages = (((((adrp >>> 5) & 0x7ffff) << 2) | ((adrp >>> 29) & 3)) << 11) >> 11;
    const target = Math.floor((base + at) / 4096) * 4096 + pages * 4096 + offset;
    if (target >= low && target < high) found(target);
  }
}

function arm64Offset(instruction: number): number {
  const immediate = (instruction >>> 10) & 0xfff;
  if ((instruction & 0xff800000) >>> 0 === 0x91000000) return immediate;
  if ((instruction & 0x3b000000) !== 0x39000000) return -1;
  const vector = (instruction & 0x04000000) !== 0 && (instruction & 0x00800000) !== 0;
  const scale = instruction >>> 30;
  return immediate << (vector && scale === 0 ? 4 : scale);
}
