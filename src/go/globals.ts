/** Addresses of the runtime's globals: by the symbol table, else by witnesses and a structural scan, always checked. */
import { u64 } from "../base/bytes.ts";
import { newRangeBuffer, tryRead } from "../base/memory-reader.ts";
import type { Address, Bytes } from "../base/units.ts";
import type { Architecture } from "./architecture.ts";
import { type CheckContext, firstSizeClasses, globalChecks, nothingToCheck, sliceAt } from "./global-checks.ts";
import { type References, referencesOf, symbolNames } from "./layout-table.ts";
import { type ProgramImage, rangeBytes } from "./program-image.ts";
import { dataReferences } from "./references.ts";
import { type Evidence, type RuntimeGlobal, runtimeGlobals } from "./runtime.ts";

export interface FoundGlobals {
  readonly globals: ReadonlyMap<RuntimeGlobal, Address>;
  readonly evidence: readonly Evidence[];
}

interface Candidate {
  readonly address: Address;
  readonly found: string;
  /** Whether it may be believed where its value cannot be checked. */
  readonly sure: boolean;
}

/** Finds the globals of these names; fewer names cost less where there are no symbols. */
export function findGlobals(
  image: ProgramImage,
  architecture: Architecture,
  context: CheckContext,
  names: readonly RuntimeGlobal[],
): FoundGlobals {
  const globals = new Map<RuntimeGlobal, Address>();
  const evidence: Evidence[] = [];
  const bySymbol = symbolCandidates(image);
  const candidates = bySymbol ?? voteCandidates(architecture, context, names);
  for (const name of names) {
    const chosen = choose(name, context, candidates.get(name) ?? []) ?? scan(name, image, context);
    if (chosen === undefined) {
      if (candidates.get(name)?.length) evidence.push({ subject: `global ${name}`, found: "not found", checked: "" });
      continue;
    }
    globals.set(name, chosen.address);
    evidence.push({ subject: `global ${name}`, found: chosen.found, checked: chosen.checked });
  }
  return { globals, evidence };
}

/** The first candidate that passes the global's check; without a check the first, if it is sure. */
function choose(
  name: RuntimeGlobal,
  context: CheckContext,
  candidates: readonly Candidate[],
): (Candidate & { checked: string }) | undefined {
  const check = globalChecks[name];
  for (const candidate of candidates) {
    const checked = check ? check(context, candidate.address) : candidate.sure ? "" : undefined;
    // A list that is empty yet looks like every other zero.
    if (checked === nothingToCheck && !candidate.sure) continue;
    if (checked !== undefined) return { ...candidate, checked };
    if (!check) return undefined;
  }
  return undefined;
}

function symbolCandidates(image: ProgramImage): Map<RuntimeGlobal, Candidate[]> | undefined {
  const globalOf = new Map<string, RuntimeGlobal>();
  for (const name of runtimeGlobals) for (const symbol of symbolNames(name)) globalOf.set(symbol, name);
  const runtime = image.elf.symbols(new Set(globalOf.keys()), "runtime.");
  if (runtime === undefined || runtime.size < 8) return undefined;
  const inner = image.elf.symbols(new Set(globalOf.keys()), "internal/runtime/gc.");
  const found = new Map<RuntimeGlobal, Candidate[]>();
  for (const [symbol, place] of [...runtime, ...(inner ?? [])]) {
    const address = place.address + image.bias;
    found.set(globalOf.get(symbol)!, [{ address, found: "symbol table", sure: true }]);
  }
  return found;
}

/** Witnesses of the nearest version vote for addresses; more than this many candidates are never looked at. */
const mostCandidates = 40;

function voteCandidates(
  architecture: Architecture,
  context: CheckContext,
  names: readonly RuntimeGlobal[],
): Map<RuntimeGlobal, Candidate[]> {
  const found = new Map<RuntimeGlobal, Candidate[]>();
  const table = referencesOf(architecture, context.version);
  if (table === undefined) return found;
  const votes = collectVotes(table.references, architecture, context, names);
  for (const [name, ballot] of votes) {
    const ranked = [...ballot.scores].sort((a, b) => b[1] - a[1]).slice(0, mostCandidates);
    const [first, second] = ranked;
    found.set(
      name,
      ranked.map(([address, score], index) => ({
        address,
        found: `references (${ballot.voters.get(address)} of ${ballot.witnesses} witnesses of go${table.version})`,
        // Without a check, only a clear majority of witnesses of this very minor version is believed.
        sure:
          index === 0 &&
          table.near &&
          ballot.voters.get(address)! * 2 > ballot.witnesses &&
          (second === undefined || score > second[1]) &&
          first !== undefined,
      })),
    );
  }
  return found;
}

/** So many references of one witness to one global tell as much as all of them. */
const mostOffsets = 3;

interface Ballot {
  witnesses: number;
  readonly scores: Map<Address, number>;
  readonly voters: Map<Address, number>;
}

function collectVotes(
  references: References,
  architecture: Architecture,
  context: CheckContext,
  names: readonly RuntimeGlobal[],
): Map<RuntimeGlobal, Ballot> {
  const byWitness = new Map<string, [RuntimeGlobal, readonly number[]][]>();
  const ballots = new Map<RuntimeGlobal, Ballot>();
  for (const name of names) {
    for (const [witness, offsets] of Object.entries(references[name] ?? {})) {
      const list = byWitness.get(witness);
      const told: [RuntimeGlobal, readonly number[]] = [name, offsets.slice(0, mostOffsets)];
      if (list) list.push(told);
      else byWitness.set(witness, [told]);
    }
    ballots.set(name, { witnesses: 0, scores: new Map(), voters: new Map() });
  }
  const module = context.modules[0]!;
  const low = Math.min(module.noptrdata, module.data);
  const high = Math.max(module.end, module.enoptrbss, module.ebss);
  const witnesses = [...module.pclntab.functions("runtime")]
    .filter(({ name, size }) => byWitness.has(name) && size > 0 && size < largestFunction)
    .slice(0, mostWitnesses);
  const code = newRangeBuffer();
  context.memory.readRanges(
    Float64Array.from(witnesses, ({ entry }) => entry),
    Uint32Array.from(witnesses, ({ size }) => size),
    witnesses.length,
    code,
  );
  for (const [i, { name, entry, size }] of witnesses.entries()) {
    const at = code.offsets[i]!;
    if (at < 0) continue;
    const targets = new Set<Address>();
    const note = (address: Address): unknown => targets.add(address);
    dataReferences(architecture, code.data.subarray(at, at + size), entry, low, high, note);
    for (const [global, offsets] of byWitness.get(name)!) vote(ballots.get(global)!, targets, offsets);
  }
  return ballots;
}

/** The tables know fewer; a program that has several functions of a name is not read to its end. */
const mostWitnesses = 2048;
/** No function of the runtime is larger; a program that claims so is not read. */
const largestFunction: Bytes = 1 << 18;

/** A witness votes for each address that explains one of its references, and more for one that explains several. */
function vote(ballot: Ballot, targets: ReadonlySet<Address>, offsets: readonly number[]): void {
  ballot.witnesses++;
  const explained = new Map<Address, number>();
  for (const target of targets)
    for (const offset of offsets) explained.set(target - offset, (explained.get(target - offset) ?? 0) + 1);
  for (const [address, count] of explained) {
    ballot.scores.set(address, (ballot.scores.get(address) ?? 0) + 1 + (count - 1) / offsets.length);
    ballot.voters.set(address, (ballot.voters.get(address) ?? 0) + 1);
  }
}

/** What can be found by its form alone, where nobody knows its address. */
function scan(
  name: RuntimeGlobal,
  image: ProgramImage,
  context: CheckContext,
): (Candidate & { checked: string }) | undefined {
  const address = name === "allgs" ? scanAllgs(context) : name === "class_to_size" ? scanSizes(image) : undefined;
  const checked = address === undefined ? undefined : globalChecks[name]!(context, address);
  return address === undefined || checked === undefined ? undefined : { address, found: "scan", sure: true, checked };
}

/** The longest slice of goroutines among the program's variables. */
export function scanAllgs(context: CheckContext): Address | undefined {
  const module = context.modules[0]!;
  let best: Address | undefined;
  let longest = 0;
  const regions = [
    [module.bss, module.ebss],
    [module.data, module.edata],
    [module.noptrbss, module.enoptrbss],
  ] as const;
  for (const [start, end] of regions) {
    const bytes = tryRead(context.memory, start, Math.min(end - start, 256 << 20));
    if (bytes === undefined) continue;
    const words = bytes.length - 24;
    for (let at = 0; at <= words; at += 8) {
      // The high halves first: lengths are below 2^32, which nearly every other word fails at once.
      if (bytes.readUInt32LE(at + 12) !== 0 || bytes.readUInt32LE(at + 20) !== 0) continue;
      const length = bytes.readUInt32LE(at + 8);
      if (length <= longest || length > bytes.readUInt32LE(at + 16) || u64(bytes, at) < 65536) continue;
      if (sliceAt(context.memory, start + at) === undefined || !globalChecks.allgs!(context, start + at)) continue;
      best = start + at;
      longest = length;
    }
  }
  return best;
}

/** class_to_size is a constant table: its contents are its name. */
function scanSizes(image: ProgramImage): Address | undefined {
  for (const range of image.ranges) {
    const at = rangeBytes(image, range).indexOf(firstSizeClasses);
    if (at >= 0) return range.start + at;
  }
  return undefined;
}
