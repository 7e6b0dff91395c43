import { Float64Column, Int32Column } from "../base/columns.ts";
import { PairTable } from "../base/pair-table.ts";
import type { Profile } from "./model.ts";

/** The same profile without times: samples of the same stack and labels added up, in order of first appearance. */
export function summed(profile: Profile): Profile {
  const { samples } = profile;
  if (samples.time === undefined) return profile;
  const rows = new PairTable();
  const stack = new Int32Column();
  const labels = new Int32Column();
  const values = samples.values.map(() => new Float64Column());
  for (let i = 0; i < samples.count; i++) {
    const row = rows.intern(samples.stack[i]!, samples.labels[i]!);
    if (row === stack.length) {
      stack.push(samples.stack[i]!);
      labels.push(samples.labels[i]!);
      for (const column of values) column.push(0);
    }
    for (let type = 0; type < values.length; type++) values[type]!.data[row]! += samples.values[type]![i]!;
  }
  const columns = { stack: stack.view(), labels: labels.view(), values: values.map((column) => column.view()) };
  return { ...profile, samples: { ...columns, count: stack.length, time: undefined } };
}
