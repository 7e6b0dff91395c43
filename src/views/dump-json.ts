/** Reads the NDJSON of `procscope dump --format json`: a header line, then one record a goroutine. */
import { ProcscopeError } from "../base/errors.ts";
import type { GoroutineSetBuilder } from "./goroutine-set.ts";
import { type GoroutineState, goroutineStates } from "./goroutine-source.ts";

type Json = Readonly<Record<string, unknown>>;

/** Adds all goroutines to `builder`; returns when the dump was taken, if it says. Throws MALFORMED. */
export function readDumpJson(bytes: Buffer, builder: GoroutineSetBuilder): number | undefined {
  let takenAt: number | undefined;
  let number = 0;
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(10, at);
    const stop = end < 0 ? bytes.length : end;
    number++;
    const text = bytes.toString("utf8", at, stop).trim();
    at = stop + 1;
    if (text === "") continue;
    const record = parse(text, number);
    if (typeof record["schema"] === "string") {
      const time = Date.parse(String(record["takenAt"]));
      if (!Number.isNaN(time)) takenAt = time;
    } else addRecord(record, builder, number);
  }
  return takenAt;
}

function parse(text: string, line: number): Json {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch {
    // Told below, with the line.
  }
  throw new ProcscopeError("MALFORMED", `line ${line} is not a JSON object`, {
    hint: "a dump that was cut off while it was written ends like this",
  });
}

function addRecord(record: Json, builder: GoroutineSetBuilder, line: number): void {
  const id = record["id"];
  if (typeof id !== "number" && typeof id !== "string") {
    throw new ProcscopeError("MALFORMED", `line ${line} is not a goroutine: it has no id`);
  }
  const created = isObject(record["createdBy"]) ? record["createdBy"] : undefined;
  const frames = Array.isArray(record["frames"]) ? record["frames"].filter(isObject) : [];
  const wait = record["waitingSeconds"];
  builder.add({
    id: Number(id),
    weight: 1,
    state: stateOf(record["status"]),
    reason: textOf(record["waitReason"]),
    waitSeconds: typeof wait === "number" ? wait : -1,
    lockedToThread: record["lockedToThread"] === true,
    stack: builder.stack(frames.map((frame) => placeOf(frame, builder))),
    creator: created ? placeOf(created, builder) : 0,
    creatorId: created ? Number(created["goroutineId"] ?? 0) || 0 : 0,
    start: startOf(record["startFunction"], builder),
    labels: labelsOf(record["labels"]),
  });
}

function placeOf(value: Json, builder: GoroutineSetBuilder): number {
  const line = value["line"];
  return builder.place(
    textOf(value["function"]),
    textOf(value["file"]),
    typeof line === "number" ? line : 0,
    value["inlined"] === true,
  );
}

function startOf(value: unknown, builder: GoroutineSetBuilder): number | undefined {
  if (isObject(value)) return placeOf(value, builder);
  return typeof value === "string" && value !== "" ? builder.place(value, "", 0) : undefined;
}

function stateOf(value: unknown): GoroutineState {
  return goroutineStates.find((state) => state === value) ?? (value === undefined ? "unknown" : "waiting");
}

function labelsOf(value: unknown): ReadonlyMap<string, string> | undefined {
  if (!isObject(value)) return undefined;
  return new Map(Object.entries(value).map(([key, text]) => [key, String(text)]));
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
