/** A log that a hostile reader cannot flood: at most so many lines a second, and one that says how many were left out. */
export class RateLimitedLog {
  private readonly sink: (message: string) => void;
  private readonly perSecond: number;
  private second = 0;
  private written = 0;
  private dropped = 0;

  constructor(sink: (message: string) => void, perSecond = 10) {
    this.sink = sink;
    this.perSecond = perSecond;
  }

  write(message: string): void {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.second) {
      if (this.dropped > 0) this.sink(`${this.dropped} more messages were left out`);
      this.second = second;
      this.written = 0;
      this.dropped = 0;
    }
    if (this.written >= this.perSecond) this.dropped++;
    else {
      this.written++;
      this.sink(message);
    }
  }
}
