/** Looking at a target that stands still: what moves by itself meanwhile is no fault of what looks. */
import { isDeepStrictEqual } from "node:util";

const mostTries = 5;

/**
 * What the target says of itself and what `look` saw, where it said the same before and after. A target that moves at
 * every one of five tries gives its last.
 */
export async function atRest<Own, Seen>(
  own: () => Promise<Own>,
  look: () => Promise<Seen>,
): Promise<{ readonly own: Own; readonly seen: Seen }> {
  for (let tries = 1; ; tries++) {
    const before = await own();
    const seen = await look();
    if (tries === mostTries || isDeepStrictEqual(before, await own())) return { own: before, seen };
  }
}
