/** Goroutine dumps as texts: taken apart and compared. */

export interface GoroutineText {
  readonly id: number;
  readonly text: string;
}

/** The goroutines of a runtime.Stack, debug=2 or SIGQUIT text in its order; what is not a goroutine is left out. */
export function splitGoroutines(text: string): GoroutineText[] {
  const found: GoroutineText[] = [];
  for (const block of text.split(/\n\n+/)) {
    const head = /(?:^|\n)(goroutine (\d+) [\s\S]*)$/.exec(block);
    if (head) found.push({ id: Number(head[2]), text: head[1]!.trimEnd() });
  }
  return found;
}

export interface Comparison {
  readonly equal: number;
  /** Sentences about what differs, the first few with both texts. */
  readonly differences: readonly string[];
}

/** Compares goroutine by goroutine, in order. */
export function compareGoroutines(truth: readonly GoroutineText[], ours: readonly GoroutineText[]): Comparison {
  const differences: string[] = [];
  const byId = new Map(ours.map((one) => [one.id, one.text]));
  let equal = 0;
  for (const { id, text } of truth) {
    const mine = byId.get(id);
    if (mine === text) equal++;
    else if (mine === undefined) differences.push(`goroutine ${id} is missing:\n${text}`);
    else differences.push(`goroutine ${id}: the process's own\n${text}\n--- ours\n${mine}`);
  }
  const known = new Set(truth.map(({ id }) => id));
  for (const { id, text } of ours)
    if (!known.has(id)) differences.push(`goroutine ${id} is not in the truth:\n${text}`);
  const order = (all: readonly GoroutineText[]): string => all.map(({ id }) => id).join(" ");
  if (differences.length === 0 && order(truth) !== order(ours))
    differences.push(`the order differs:\n${order(truth)}\n--- ours\n${order(ours)}`);
  return { equal, differences };
}
