/**
 * Waiting for the next request. A thread that sleeps in read(2) must be woken for each one, and waking an idle CPU takes
 * longer than serving (in a virtual machine 20 µs of 25). So while a reader keeps sending, the thread looks again and
 * again for a short while before it sleeps.
 *
 * That is right on an idle machine and wrong on a busy one, where nothing has to be woken, or where the reader waits for
 * our very CPU. Which of them it is gets measured, not guessed: both ways are tried for a window of requests now and
 * then, and the faster one is kept. A reader that pauses, or that sends less than some thousand requests a second, is
 * waited for asleep.
 */
import { constants } from "node:os";
import { libcFunction } from "./ffi.ts";

/** read(2): bytes, or minus errno. */
export type ReadCall = (fd: number, buffer: Buffer, length: number) => number;

/** Requests between two decisions. */
const windowRequests = 128;
/** Requests a millisecond; fewer are not worth looking for. */
const busyRate = 3;
/** For how long it looks before it sleeps after all. */
const lookMilliseconds = 0.04;
/** Asleep it is only given up where looking is faster by so much: it costs the CPU that sleeping would leave to others. */
const worthLooking = 1.3;
/** After so many windows of looking, one is spent asleep to compare. */
const compareAfter = 64;
/** A reader that sends nothing for so long has paused. */
const pauseMilliseconds = 2;
/** For how long what was measured of looking is believed, in milliseconds; twice as long after each try in vain. */
const firstBelieved = 250;
const longestBelieved = 8000;

const F_SETFL = 4;
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const POLLIN = 1;
const { EAGAIN } = constants.errno;

export class RequestWaiter {
  private readonly fd: number;
  private readonly read: ReadCall;
  private readonly fcntl = libcFunction<(fd: number, command: number, flags: number) => number>(
    "int fcntl(int fd, int command, int flags)",
  );
  private readonly poll = libcFunction<(entries: Buffer, count: number, timeout: number) => number>(
    "int poll(void *entries, unsigned long count, int timeout)",
  );
  private readonly pollEntry = Buffer.alloc(8);
  private looking = false;
  private requests = 0;
  private windowStart = 0;
  private windows = 0;
  private slowWindows = 0;
  /** Looks of this window, and those that ended asleep. */
  private looks = 0;
  private misses = 0;
  private asleepRate = 0;
  /** What looking brought when it was tried last, and until when that counts. */
  private lookingRate = 0;
  private believedUntil = 0;
  private believed = firstBelieved;

  constructor(fd: number, read: ReadCall) {
    this.fd = fd;
    this.read = read;
    this.pollEntry.writeInt32LE(fd, 0);
    this.pollEntry.writeInt16LE(POLLIN, 4);
    // A server that died while it was looking leaves its flag at the shared descriptor.
    this.fcntl(fd, F_SETFL, O_RDWR);
  }

  /** The next request's length, or minus errno. */
  next(buffer: Buffer): number {
    if (++this.requests >= windowRequests) this.decide(performance.now());
    let length = this.read(this.fd, buffer, buffer.length);
    if (length !== -EAGAIN || !this.looking) return length;
    this.looks++;
    const start = performance.now();
    const end = start + lookMilliseconds;
    do {
      length = this.read(this.fd, buffer, buffer.length);
      if (length !== -EAGAIN) return length;
    } while (performance.now() < end);
    this.misses++;
    this.poll(this.pollEntry, 1, -1);
    const now = performance.now();
    if (now - start > pauseMilliseconds) this.begin(now);
    return this.read(this.fd, buffer, buffer.length);
  }

  private decide(now: number): void {
    const rate = windowRequests / (now - this.windowStart);
    this.windows++;
    if (this.looking) {
      // One slow window may be anybody's fault; two are ours.
      this.slowWindows = rate < this.asleepRate * worthLooking ? this.slowWindows + 1 : 0;
      // A reader that waits for our CPU never sends while we look.
      const inVain = this.slowWindows > 1 || this.misses > 0.9 * this.looks;
      this.believed = inVain ? Math.min(longestBelieved, this.believed * 2) : firstBelieved;
      this.lookingRate = rate;
      this.believedUntil = now + this.believed;
      if (inVain || this.windows >= compareAfter) this.look(false);
    } else {
      this.asleepRate = rate;
      const unknown = now > this.believedUntil;
      if (rate > busyRate && (unknown || this.lookingRate > rate * worthLooking)) this.look(true);
    }
    this.begin(now);
  }

  /** A new window; what it measures must not hold a pause of the reader. */
  private begin(now: number): void {
    this.requests = 0;
    this.looks = 0;
    this.misses = 0;
    this.windowStart = now;
  }

  private look(on: boolean): void {
    this.looking = on;
    this.windows = 0;
    this.slowWindows = 0;
    this.fcntl(this.fd, F_SETFL, on ? O_RDWR | O_NONBLOCK : O_RDWR);
  }
}
