/** A real terminal for tests: a tmux server of its own, in which the built procscope runs. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cliPath } from "../support/cli.ts";

export class TestTerminal implements Disposable {
  /** The working folder of what runs in it. */
  readonly folder: string;
  private readonly socket: string;

  /** Starts a shell with a known prompt, so that what a program leaves behind can be seen. */
  constructor(width = 160, height = 30) {
    this.folder = mkdtempSync(join(tmpdir(), "procscope-top-"));
    this.socket = join(this.folder, "tmux");
    const size = ["-x", String(width), "-y", String(height)];
    this.tmux(
      "-f",
      "/dev/null",
      "new-session",
      "-d",
      "-c",
      this.folder,
      ...size,
      "env PS1='ready> ' LC_ALL=C.UTF-8 sh",
    );
    // What is typed before the shell has drawn its prompt would stand before that.
    for (let i = 0; i < 1000 && !this.screen().includes("ready>"); i++) execFileSync("sleep", ["0.02"]);
  }

  /** Types a command line into the shell. */
  run(...words: string[]): void {
    this.type(`${process.execPath} ${cliPath} ${words.join(" ")}`);
    this.press("Enter");
  }

  /** Text as it is, without names of keys. */
  type(text: string): void {
    this.tmux("send-keys", "-l", "--", text);
  }

  /** Keys by tmux' names: Enter, Escape, Up, PageDown, C-c … */
  press(...keys: string[]): void {
    this.tmux("send-keys", ...keys);
  }

  /** What is on the screen: rows without trailing blanks. */
  screen(): string {
    return this.tmux("capture-pane", "-p");
  }

  resize(width: number, height: number): void {
    this.tmux("resize-window", "-x", String(width), "-y", String(height));
  }

  /** Modes of the terminal that a program must put back. */
  modes(): { alternate: boolean; cursor: boolean; mouse: boolean } {
    const [alternate, cursor, mouse] = this.tmux(
      "display-message",
      "-p",
      "#{alternate_on} #{cursor_flag} #{mouse_standard_flag}",
    )
      .trim()
      .split(" ");
    return { alternate: alternate === "1", cursor: cursor === "1", mouse: mouse === "1" };
  }

  /** The process that runs in the shell. */
  childPid(): number {
    const shell = this.tmux("display-message", "-p", "#{pane_pid}").trim();
    return Number(execFileSync("ps", ["-o", "pid=", "--ppid", shell], { encoding: "utf8" }).trim());
  }

  /** Waits until the screen holds; returns it. */
  async until(what: RegExp | ((screen: string) => boolean), seconds = 15): Promise<string> {
    const holds = typeof what === "function" ? what : (screen: string): boolean => what.test(screen);
    const end = Date.now() + seconds * 1000;
    for (;;) {
      // Seen twice: a frame may be half drawn.
      const held = holds(this.screen());
      const screen = this.screen();
      if (held && holds(screen)) return screen;
      if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}\n${screen}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  private tmux(...words: string[]): string {
    return execFileSync("tmux", ["-S", this.socket, ...words], { encoding: "utf8" });
  }

  [Symbol.dispose](): void {
    try {
      this.tmux("kill-server");
    } catch {
      // Its shell has ended already.
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
