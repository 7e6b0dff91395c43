/** What comes over the network: asked for again, since networks fail for a moment. */
const pauses = [5_000, 20_000];

/** The result of `fetch`, tried up to three times; throws its last error. */
export function fetching<T>(fetch: () => T): T {
  for (const pause of pauses) {
    try {
      return fetch();
    } catch (error) {
      console.error(`setup: ${String(error).split("\n")[0]}; again in ${pause / 1000} s`);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause);
    }
  }
  return fetch();
}
