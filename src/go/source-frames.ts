import { type CodeTable, type LogicalFrame, shows } from "./code-table.ts";
import type { StackTree } from "./stack-tree.ts";

/** Where every stack ends. */
export const stackBottom = "runtime.goexit";

/**
 * The frames of a stack as runtime.Callers gives them, innermost first: the runtime's own too, but neither wrappers of
 * the compiler nor, unless `withExit`, runtime.goexit, where every stack ends.
 */
export function sourceFrames(tree: StackTree, code: CodeTable, node: number, withExit = false): LogicalFrame[] {
  const frames: LogicalFrame[] = [];
  let callee: LogicalFrame | undefined;
  for (const point of tree.stack(node)) {
    for (const frame of code.frames(point)) {
      const left = frame.function === stackBottom ? !withExit : frame.wrapper && !shows(frame, false, callee);
      if (!left) frames.push(frame);
      callee = frame;
    }
  }
  return frames;
}
