import { ProcscopeError } from "../base/errors.ts";

/** Parses an option's whole number of at least `least`. Throws USAGE naming the option. */
export function wholeNumber(text: string, option: string, least: number): number {
  if (/^\d{1,9}$/.test(text) && Number(text) >= least) return Number(text);
  throw new ProcscopeError("USAGE", `${option} takes a whole number of at least ${least}, not ${text}`);
}
