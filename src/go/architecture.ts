/** What differs between processors, as data: a new one is one more value and one more file of reference extraction. */
export interface Architecture {
  /** Go's own name of it. */
  readonly name: "amd64" | "arm64";
  /** e_machine of its ELF files. */
  readonly elfMachine: number;
  /** True where a call leaves its return address in a register (arm64), false where it pushes it (amd64). */
  readonly linkRegister: boolean;
  /** The least instruction length, runtime/internal/sys PCQuantum: how far a return address is backed up for its line. */
  readonly pcQuantum: number;
}

export const amd64: Architecture = { name: "amd64", elfMachine: 62, linkRegister: false, pcQuantum: 1 };
export const arm64: Architecture = { name: "arm64", elfMachine: 183, linkRegister: true, pcQuantum: 4 };
