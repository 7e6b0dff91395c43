/** The difference of two profiles: what grew and what shrank, by function. */
import { ProcscopeError } from "../base/errors.ts";
import { escapeTerminal } from "../base/escape.ts";
import { textTable } from "../base/text-table.ts";
import { ProfileBuilder } from "./builder.ts";
import { ProfileCopier } from "./copy.ts";
import { frameTree, selfValues } from "./frame-tree.ts";
import { Measure, percentage } from "./measure.ts";
import { type Profile, total, type ValueType } from "./model.ts";

export interface DiffOptions {
  /** The sample type to compare; the default of the profile after otherwise. */
  readonly type?: string | undefined;
  /** Scale the profile before to the total of the one after: shares are compared, not amounts. */
  readonly normalize?: boolean | undefined;
}

export interface FunctionChange {
  readonly name: string;
  readonly file: string;
  readonly flatBefore: number;
  readonly flatAfter: number;
  readonly cumulativeBefore: number;
  readonly cumulativeAfter: number;
}

export interface ProfileDiff {
  readonly type: ValueType;
  readonly totalBefore: number;
  readonly totalAfter: number;
  /** What the profile before was multiplied by; 1 unless normalized. */
  readonly scale: number;
  /** Functions whose flat or cumulative value differs, the largest flat change first. */
  readonly changes: readonly FunctionChange[];
  /** Functions in either profile. */
  readonly functions: number;
}

/** Two profiles as one: sample type i is that of the profile after, `types` + i the same of the profile before. */
export interface SideBySide {
  readonly profile: Profile;
  readonly types: number;
  readonly scale: number;
}

/** Puts the sample types that both profiles have side by side. Throws USAGE where they have none in common. */
export function sideBySide(before: Profile, after: Profile, options: DiffOptions = {}): SideBySide {
  const common = after.sampleTypes.filter((type) => indexOf(before, type) >= 0);
  const listed = (profile: Profile): string => profile.sampleTypes.map(({ type, unit }) => `${type}/${unit}`).join(" ");
  if (common.length === 0) {
    throw new ProcscopeError("USAGE", "the two profiles measure different things", {
      hint: `the first has ${listed(before)}, the second ${listed(after)}`,
    });
  }
  const wanted = options.type ?? after.sampleTypes[after.defaultType]?.type;
  const chosen = common.findIndex(({ type }) => type === wanted);
  if (options.type !== undefined && chosen < 0) {
    throw new ProcscopeError("USAGE", `the two profiles do not both have the sample type ${options.type}`, {
      hint: `both have ${common.map(({ type }) => type).join(", ")}`,
    });
  }
  const defaultType = Math.max(0, chosen);
  const scale = options.normalize ? scaleOf(before, after, common[defaultType]!) : 1;
  const { comments, periodType, period, timeNanos, durationNanos } = after;
  const sampleTypes = [...common, ...common.map(({ type, unit }) => ({ type: `${type} before`, unit }))];
  const info = { comments, periodType, period, timeNanos, durationNanos };
  const builder = new ProfileBuilder({ ...info, sampleTypes, defaultType });
  copyRows(after, builder, common, 0, 1);
  copyRows(before, builder, common, common.length, scale);
  return { profile: builder.finish(), types: common.length, scale };
}

function indexOf(profile: Profile, { type, unit }: ValueType): number {
  return profile.sampleTypes.findIndex((other) => other.type === type && other.unit === unit);
}

function scaleOf(before: Profile, after: Profile, type: ValueType): number {
  const old = total(before, indexOf(before, type));
  return old === 0 ? 1 : total(after, indexOf(after, type)) / old;
}

function copyRows(profile: Profile, builder: ProfileBuilder, types: readonly ValueType[], at: number, scale: number) {
  const copier = new ProfileCopier(profile, builder);
  const stacks = copier.stacks();
  const columns = types.map((type) => profile.samples.values[indexOf(profile, type)]!);
  const values = new Float64Array(types.length * 2);
  const { count, stack, labels } = profile.samples;
  for (let row = 0; row < count; row++) {
    for (let i = 0; i < columns.length; i++) values[at + i] = columns[i]![row]! * scale;
    builder.add(stacks[stack[row]!]!, values, copier.labels(labels[row]!));
  }
}

/** Compares by function name, as pprof's -diff_base does. */
export function diffProfiles(before: Profile, after: Profile, options: DiffOptions = {}): ProfileDiff {
  const { profile, types, scale } = sideBySide(before, after, options);
  const type = profile.defaultType;
  const tree = frameTree(profile, "name");
  const now = byFrame(tree, selfValues(tree, profile, type));
  const old = byFrame(tree, selfValues(tree, profile, type + types));
  const changes: FunctionChange[] = [];
  tree.names.forEach((name, frame) => {
    const change = {
      name,
      file: tree.files[frame]!,
      flatBefore: old.flat[frame]!,
      flatAfter: now.flat[frame]!,
      cumulativeBefore: old.cumulative[frame]!,
      cumulativeAfter: now.cumulative[frame]!,
    };
    if (change.flatBefore !== change.flatAfter || change.cumulativeBefore !== change.cumulativeAfter) {
      changes.push(change);
    }
  });
  changes.sort(
    (a, b) =>
      Math.abs(b.flatAfter - b.flatBefore) - Math.abs(a.flatAfter - a.flatBefore) ||
      Math.abs(b.cumulativeAfter - b.cumulativeBefore) - Math.abs(a.cumulativeAfter - a.cumulativeBefore),
  );
  const totals = { totalBefore: total(profile, type + types), totalAfter: total(profile, type) };
  return { type: profile.sampleTypes[type]!, ...totals, scale, changes, functions: tree.names.length };
}

interface PerFrame {
  readonly flat: Float64Array;
  readonly cumulative: Float64Array;
}

/** Sums by frame; a recursive frame's cumulative value counts each stack once. */
function byFrame(tree: ReturnType<typeof frameTree>, self: Float64Array): PerFrame {
  const flat = new Float64Array(tree.names.length);
  const cumulative = new Float64Array(tree.names.length);
  /** The node that last counted a frame. */
  const seen = new Int32Array(tree.names.length).fill(-1);
  for (let node = 1; node < tree.count; node++) {
    const value = self[node]!;
    if (value === 0) continue;
    flat[tree.frame[node]!]! += value;
    for (let at = node; at > 0; at = tree.parent[at]!) {
      const frame = tree.frame[at]!;
      if (seen[frame] === node) continue;
      seen[frame] = node;
      cumulative[frame]! += value;
    }
  }
  return { flat, cumulative };
}

/** The difference as a table for terminals; `count` functions, 40 by default. */
export function diffText(diff: ProfileDiff, count = 40): string {
  const measure = new Measure(diff.type.unit);
  const biggest = diff.changes.reduce((most, change) => Math.max(most, Math.abs(changeOf(change))), 0);
  measure.chooseUnit(biggest / 100 || Math.abs(diff.totalAfter), Math.max(biggest, Math.abs(diff.totalAfter)));
  const signed = (value: number): string => (value > 0 ? "+" : "") + measure.format(value);
  const change = diff.totalAfter - diff.totalBefore;
  const lines = [
    `Type: ${diff.type.type}`,
    `Total: ${measure.format(diff.totalBefore)} before, ${measure.format(diff.totalAfter)} after: ${signed(change)}` +
      (diff.totalBefore !== 0 ? ` (${change < 0 ? "-" : "+"}${percentage(change, diff.totalBefore)})` : ""),
  ];
  if (diff.scale !== 1)
    lines.push(`The first profile is scaled by ${diff.scale.toPrecision(4)} to the second's total.`);
  if (diff.changes.length === 0) return `${[...lines, "No function differs."].join("\n")}\n`;
  lines.push("");
  const columns = ["before", "after", "flat change", "cum change"].map((title) => ({ title, align: "right" as const }));
  const rows = diff.changes
    .slice(0, count)
    .map((one) => [
      measure.format(one.flatBefore),
      measure.format(one.flatAfter),
      signed(one.flatAfter - one.flatBefore),
      signed(one.cumulativeAfter - one.cumulativeBefore),
      escapeTerminal(one.name),
    ]);
  lines.push(...textTable([...columns, { title: "function" }], rows));
  if (diff.changes.length > count) lines.push(`… and ${diff.changes.length - count} more functions that changed`);
  return `${lines.join("\n")}\n`;
}

function changeOf(change: FunctionChange): number {
  return change.flatAfter - change.flatBefore;
}

/** The flame graph page of the difference: red grew, blue shrank. */
export async function* diffPage(
  before: Profile,
  after: Profile,
  options: DiffOptions & { readonly title?: string | undefined } = {},
): AsyncGenerator<Uint8Array> {
  const { flameGraphChunks } = await import("./flame-graph.ts");
  const { profile, types } = sideBySide(before, after, options);
  yield* flameGraphChunks(profile, profile.defaultType, { title: options.title, before: types });
}
