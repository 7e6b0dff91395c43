/** Lets Node end: works round a deadlock of its own at the end of a process or thread. */
import { setFlagsFromString } from "node:v8";

/**
 * Call when nothing but the end is left to do.
 *
 * Node waits at its end for the threads of V8's compiler, and such a thread, when it allocates at the soft limit of the
 * heap, waits for the main thread to collect garbage: neither goes on (nodejs/node#54918). Beside a busy test suite 16
 * of 360 dumps hung so, after their last byte was written; none of 440 with this. V8 lets a thread allocate beyond that
 * limit where marking is about to make room (Heap::ShouldExpandOldGenerationOnSlowAllocation), and with this flag it
 * always is.
 */
export function letNodeEnd(): void {
  setFlagsFromString("--stress-incremental-marking");
}
