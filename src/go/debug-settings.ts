import { u64 } from "../base/bytes.ts";
import { tryRead } from "../base/memory-reader.ts";
import type { Address } from "../base/units.ts";
import type { GoRuntime } from "./runtime.ts";

const longestData = 256 << 20;

/**
 * The value that a GODEBUG setting has in the program, from the runtime's own table of them (runtime.dbgvars,
 * runtime/runtime1.go: name, pointer to an int32, pointer to an atomic.Int32, default). Undefined where there is none.
 */
export function debugSetting(runtime: GoRuntime, name: string): number | undefined {
  for (const { data, edata } of runtime.modules.slice(0, 1)) {
    const length = edata - data;
    const bytes = length > 0 && length < longestData ? tryRead(runtime.memory, data, length) : undefined;
    if (!bytes) continue;
    const wanted = Buffer.alloc(8);
    wanted.writeUInt32LE(name.length, 0);
    for (let at = bytes.indexOf(wanted, 8); at >= 0; at = bytes.indexOf(wanted, at + 1)) {
      if ((data + at) % 8 !== 0 || at + 24 > bytes.length || !isString(runtime, u64(bytes, at - 8), name)) continue;
      const target = u64(bytes, at + 8) || u64(bytes, at + 16);
      const value = tryRead(runtime.memory, target, 4);
      if (value && isVariable(runtime, target)) return value.readInt32LE(0);
    }
  }
  return undefined;
}

function isString(runtime: GoRuntime, address: Address, text: string): boolean {
  return tryRead(runtime.memory, address, text.length)?.toString("latin1") === text;
}

function isVariable({ modules }: GoRuntime, address: Address): boolean {
  return modules.some(({ noptrdata, end }) => address >= noptrdata && address < end);
}
