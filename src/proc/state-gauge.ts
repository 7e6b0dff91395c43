import { Gauge } from "./group.ts";

/** The gauge that counts tasks in a state, by the ASCII code of procfs's letter for it. */
export function stateGauge(state: number): number {
  switch (state) {
    case 82: // R
      return Gauge.running;
    case 83: // S
      return Gauge.sleeping;
    case 68: // D
      return Gauge.waiting;
    case 90: // Z
      return Gauge.zombie;
    default:
      return Gauge.other;
  }
}
