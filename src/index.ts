export { type ErrorCode, ProcscopeError } from "./base/errors.ts";
