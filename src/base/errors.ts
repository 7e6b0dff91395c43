/**
 * The one error class of procscope. Every failure that a user can meet has a stable `code`, a sentence that says what
 * happened and, where something can be done about it, a `hint` that names the exact capability, sysctl or flag.
 */

/** Stable codes. Adding one is compatible; renaming one is not. */
export type ErrorCode =
  | "USAGE" // the call's words are off
  | "PERMISSION" // the kernel refused; the hint names what is missing
  | "NO_PROCESS" // no such process, or it exited while we looked
  | "UNSUPPORTED_TARGET" // not a Go program, unknown architecture, unknown version …
  | "UNSUPPORTED_HERE" // this machine, kernel or user cannot do it
  | "MALFORMED" // what was read from a target or file does not hold together
  | "UNREADABLE" // an address or file that could not be read
  | "INCONSISTENT" // the target kept changing while it was read
  | "IO" // writing output or reading input failed
  | "INTERNAL"; // a bug in procscope

/** Process exit statuses of the command line tool. */
export const exitStatus = {
  ok: 0,
  failure: 1,
  usage: 2,
  permission: 3,
  noProcess: 4,
  unsupported: 5,
  conditionMet: 6,
  interrupted: 130,
} as const;

const statusOfCode: Record<ErrorCode, number> = {
  USAGE: exitStatus.usage,
  PERMISSION: exitStatus.permission,
  NO_PROCESS: exitStatus.noProcess,
  UNSUPPORTED_TARGET: exitStatus.unsupported,
  UNSUPPORTED_HERE: exitStatus.failure,
  MALFORMED: exitStatus.failure,
  UNREADABLE: exitStatus.failure,
  INCONSISTENT: exitStatus.failure,
  IO: exitStatus.failure,
  INTERNAL: exitStatus.failure,
};

export class ProcscopeError extends Error {
  readonly code: ErrorCode;
  /** What the user can do about it, or undefined where nothing is known to help. */
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string | undefined; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ProcscopeError";
    this.code = code;
    this.hint = options.hint;
  }

  /** The exit status that the command line tool ends with for this error. */
  get exitStatus(): number {
    return statusOfCode[this.code];
  }
}

/** The errno name ("ENOENT") of an error thrown by Node, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** For bugs: throws where `condition` does not hold. Never for anything that a target, a user or the kernel can cause. */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new ProcscopeError("INTERNAL", `procscope has a bug: ${what}`);
}
