/** Capability sets as bits: capabilities(7), include/uapi/linux/capability.h. */

/** The ones that procscope asks about, by bit. */
export const capability = {
  CAP_DAC_OVERRIDE: 1,
  CAP_DAC_READ_SEARCH: 2,
  CAP_NET_ADMIN: 12,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
  CAP_CHECKPOINT_RESTORE: 40,
} as const;

export type CapabilityName = keyof typeof capability;

export function hasCapability(set: bigint, name: CapabilityName): boolean {
  return ((set >> BigInt(capability[name])) & 1n) === 1n;
}

/** Those of {@link capability} that a set holds. */
export function capabilityNames(set: bigint): CapabilityName[] {
  return (Object.keys(capability) as CapabilityName[]).filter((name) => hasCapability(set, name));
}
