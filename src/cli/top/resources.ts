/** What goroutines wait for, for the screens. */
import type { GoRuntime } from "../../go/runtime.ts";
import type { GoroutineSource } from "../../views/goroutine-source.ts";
import type { Live } from "../live.ts";
import type { ResourceOf } from "./groups-table.ts";

export function resourcesOf(_runtime: GoRuntime, _source: GoroutineSource): ResourceOf {
  return () => undefined;
}

export function waitLines(_live: Live, _id: number): readonly string[] {
  return [];
}
