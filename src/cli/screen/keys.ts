/** What was pressed, from the bytes that a terminal sends (xterm's sequences; SGR mouse reports). */

/** Named keys, or `{ text }` for printable input, which may be several characters at once (a paste). */
export type Key =
  | "up"
  | "down"
  | "left"
  | "right"
  | "page-up"
  | "page-down"
  | "home"
  | "end"
  | "enter"
  | "escape"
  | "backspace"
  | "tab"
  | "wheel-up"
  | "wheel-down"
  | "interrupt"
  | "suspend"
  | "redraw"
  | { readonly text: string };

const controls: Record<string, Key> = {
  "\r": "enter",
  "\n": "enter",
  "\x1b": "escape",
  "\x7f": "backspace",
  "\b": "backspace",
  "\t": "tab",
  "\x03": "interrupt",
  "\x0c": "redraw",
  "\x1a": "suspend",
};

const sequences: Record<string, Key> = {
  A: "up",
  B: "down",
  C: "right",
  D: "left",
  H: "home",
  F: "end",
  "1~": "home",
  "7~": "home",
  "4~": "end",
  "8~": "end",
  "5~": "page-up",
  "6~": "page-down",
};

const escapeSequence = /^\x1b(?:\[<(\d+);\d+;\d+[Mm]|[[O]([\x30-\x3f]*[\x20-\x2f]*[\x40-\x7e]))/;

/** All keys in one read. Sequences that mean nothing here are dropped whole, never taken for text. */
export function decodeKeys(input: string): Key[] {
  const keys: Key[] = [];
  let rest = input;
  while (rest !== "") {
    const match = escapeSequence.exec(rest);
    if (match) {
      const key =
        match[1] === undefined ? sequences[match[2]!.replace(/^1;\d+(?=[A-Z])/, "")] : wheel(Number(match[1]));
      if (key) keys.push(key);
      rest = rest.slice(match[0].length);
      continue;
    }
    const control = controls[rest[0]!];
    if (control) {
      keys.push(control);
      rest = rest.slice(1);
      continue;
    }
    const text = /^[^\x00-\x1f\x7f]+/.exec(rest)?.[0];
    if (text) keys.push({ text });
    rest = rest.slice(text?.length ?? 1);
  }
  return keys;
}

function wheel(button: number): Key | undefined {
  return button === 64 ? "wheel-up" : button === 65 ? "wheel-down" : undefined;
}
