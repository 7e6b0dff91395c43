/**
 * Flavoured numbers: a plain number may be given where a unit is asked for, but one unit is never taken for another.
 * Addresses are plain numbers: user space on Linux ends below 2^47 (2^56 with five-level paging, which a process must
 * ask for), far under the 2^53 that a number holds exactly.
 */
type Flavour<T, Name extends string> = T & { readonly __unit?: Name };

/** A process id in the pid namespace of this machine's /proc. */
export type Pid = Flavour<number, "Pid">;
/** A kernel thread id. */
export type Tid = Flavour<number, "Tid">;
/** A virtual address in the target. */
export type Address = Flavour<number, "Address">;
/** A number of bytes. */
export type Bytes = Flavour<number, "Bytes">;
/** A duration or a point on a monotonic clock, in nanoseconds; exact up to 104 days, then to within 2 ns. */
export type Nanoseconds = Flavour<number, "Nanoseconds">;
/** A duration in seconds. */
export type Seconds = Flavour<number, "Seconds">;
