/** How a frame's argument words are printed: the compiler's little program for it, decoded (runtime printArgs). */
import type { Address } from "../base/units.ts";
import type { ConstantData } from "./constant-data.ts";
import type { GoModule } from "./module.ts";
import type { PcFunction } from "./pclntab.ts";
import { argumentLiveIndex, type TracebackRules } from "./traceback-rules.ts";

/** Literals around values: literal 0, value 0, literal 1, value 1, … last literal. */
export interface ArgumentPlan {
  readonly literals: readonly string[];
  /** Of each value: bytes above the frame's argument pointer. */
  readonly offsets: readonly number[];
  /** Of each value: 1, 2, 4 or 8 bytes. */
  readonly sizes: readonly number[];
}

export const noArguments: ArgumentPlan = { literals: [""], offsets: [], sizes: [] };

/** abi.TraceArgsMaxLen: ten values, five layers of nesting. */
const longestProgram = 171;
const endSequence = 0xff;
const startAggregate = 0xfe;
const endAggregate = 0xfd;
const dotDotDot = 0xfc;
const offsetTooLarge = 0xfb;
/** Words printed of a frame before Go 1.17. */
const mostWords = 10;

/** The plan for a frame whose liveness is looked up at `pc`. */
export function argumentPlan(
  data: ConstantData,
  rules: TracebackRules,
  module: GoModule,
  fn: PcFunction,
  pc: Address,
): ArgumentPlan {
  if (rules.argumentInfo === undefined) return wordPlan(fn.argsSize);
  const { pclntab } = module;
  const program = pclntab.funcData(fn, rules.argumentInfo);
  if (program === 0) return noArguments;
  const liveness = rules.argumentLiveness === undefined ? 0 : pclntab.funcData(fn, rules.argumentLiveness);
  const liveIndex = liveness === 0 ? -1 : pclntab.pcData(fn, argumentLiveIndex, pc);
  return decode(data.read(program, longestProgram), liveMap(data, liveness, liveIndex));
}

interface LiveMap {
  /** Values below this offset are always live. */
  readonly from: number;
  live(slot: number): boolean;
}

function liveMap(data: ConstantData, address: Address, index: number): LiveMap {
  const from = address === 0 ? 0xff : (data.read(address, 1)[0] ?? 0xff);
  if (address === 0 || index <= 0) return { from, live: () => true };
  const bits = data.read(address + index, 32);
  return { from, live: (slot) => (((bits[slot >> 3] ?? 0xff) >> (slot & 7)) & 1) === 1 };
}

function decode(program: Buffer, liveness: LiveMap): ArgumentPlan {
  const literals: string[] = [];
  const offsets: number[] = [];
  const sizes: number[] = [];
  let literal = "";
  let first = true;
  let slot = 0;
  for (let at = 0; at < program.length; ) {
    const op = program[at++]!;
    if (op === endSequence) break;
    if (op !== endAggregate && !first) literal += ", ";
    first = false;
    if (op === startAggregate) {
      literal += "{";
      first = true;
    } else if (op === endAggregate) literal += "}";
    else if (op === dotDotDot) literal += "...";
    else if (op === offsetTooLarge) literal += "_";
    else {
      const size = program[at++] ?? 0;
      if (size === 0 || size > 8) break;
      literals.push(literal);
      offsets.push(op);
      sizes.push(size);
      literal = op < liveness.from || liveness.live(slot) ? "" : "?";
      if (op >= liveness.from) slot++;
    }
  }
  return { literals: [...literals, literal], offsets, sizes };
}

/** Before Go 1.17: all arguments as words; an unknown size (it is negative) prints as many as a large one. */
function wordPlan(size: number): ArgumentPlan {
  const count = size < 0 ? mostWords + 1 : Math.floor(size / 8);
  if (count === 0) return noArguments;
  const shown = Math.min(count, mostWords);
  const literals = Array.from({ length: shown }, (_, i) => (i === 0 ? "" : ", "));
  return {
    literals: [...literals, count > shown ? ", ..." : ""],
    offsets: literals.map((_, i) => 8 * i),
    sizes: literals.map(() => 8),
  };
}
