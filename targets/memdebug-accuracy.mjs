// How exactly memdebug.print() sees what a step did: memdebug-accuracy.mjs MEMDEBUG-MODULE-URL [REPEATS]. Prints one JSON object.
const memdebug = await import(process.argv[2]);
const REPEATS = Number(process.argv[3] ?? 100);
const WARM_UP = REPEATS / 2;
memdebug.configure({ write() {}, gc: true });

const cases = {
  "1 MiB Buffer": () => Buffer.alloc(1 << 20),
  "array of 131072 numbers": () => new Array(131072).fill(1),
  "1 MiB latin1 string": () => Buffer.alloc(1 << 20, "a").toString("latin1"),
  "64 KiB array": () => new Array(8192).fill(1),
  "1000 Buffers of 1 KiB": () => Array.from({ length: 1000 }, () => Buffer.allocUnsafeSlow(1024)),
};

const at = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
const result = {};
for (let i = 0; i < 2 * WARM_UP; i++) memdebug.print(0, "warm");
for (const [name, make] of Object.entries(cases)) {
  const made = [];
  const freed = [];
  for (let i = 0; i < WARM_UP + REPEATS; i++) {
    memdebug.print(0, "before");
    globalThis.kept = make();
    const consumed = memdebug.print(0, "made").change;
    globalThis.kept = null;
    const gone = memdebug.print(0, "freed").change;
    if (i < WARM_UP) continue;
    made.push(consumed);
    freed.push(-gone);
  }
  result[name] = { made, freed };
}

// The truth: what was asked for. Of many small Buffers, V8's own cost of each is a good part: that of the one large
// Buffer, and a slot of 8 bytes in the array that holds them.
const sortedOnce = [...result["1 MiB Buffer"].made].sort((a, b) => a - b);
const ownCost = at(sortedOnce, 0.5) - (1 << 20);
const truth = {
  "1 MiB Buffer": 1 << 20,
  "array of 131072 numbers": 131072 * 8,
  "1 MiB latin1 string": 1 << 20,
  "64 KiB array": 65536,
  "1000 Buffers of 1 KiB": 1000 * (1024 + ownCost + 8),
};
const rows = Object.entries(result).flatMap(([name, lists]) =>
  Object.entries(lists).map(([what, changes]) => {
    const off = changes.map((change) => Math.abs(change - truth[name])).sort((a, b) => a - b);
    return { what: `${name}, ${what}`, truth: truth[name], median: at(off, 0.5), p95: at(off, 0.95), max: at(off, 1) };
  }),
);
console.log(JSON.stringify({ node: process.version, ownCostOfABuffer: ownCost, rows }));
