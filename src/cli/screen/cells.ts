/** Text as terminal cells: cutting and filling to a width, with colour sequences, wide and combining characters. */
import { displayWidth } from "../../base/text-table.ts";

const sequence = /\x1b\[[0-9;]*m/y;

/** The first `width` cells of a text. Colour is kept and ended; a wide character that would stick out is left out. */
export function clip(text: string, width: number): string {
  if (width <= 0) return "";
  // Escapes and multi-byte text make a text longer than its cells, never shorter: short texts need no counting.
  if (text.length <= width && /^[\x20-\x7e]*$/.test(text)) return text;
  let cells = 0;
  let at = 0;
  let coloured = false;
  while (at < text.length) {
    sequence.lastIndex = at;
    if (text[at] === "\x1b" && sequence.test(text)) {
      coloured = true;
      at = sequence.lastIndex;
      continue;
    }
    const char = String.fromCodePoint(text.codePointAt(at)!);
    const wide = displayWidth(char);
    if (cells + wide > width) return text.slice(0, at) + (coloured ? "\x1b[0m" : "");
    cells += wide;
    at += char.length;
  }
  return text;
}

/** The text in exactly `width` cells: cut with an ellipsis, or filled with blanks. */
export function fit(text: string, width: number, align: "left" | "right" = "left"): string {
  const wide = displayWidth(text);
  if (wide > width) return padded(width <= 1 ? clip(text, width) : `${clip(text, width - 1)}…`, width, "left");
  return padded(text, width, align);
}

function padded(text: string, width: number, align: "left" | "right"): string {
  const fill = " ".repeat(Math.max(0, width - displayWidth(text)));
  return align === "right" ? fill + text : text + fill;
}

const bars = "▁▂▃▄▅▆▇█";

/** The last values as bars, scaled between the least and the largest; a flat line stays low. */
export function sparkline(values: readonly number[], width: number): string {
  const shown = values.slice(-width);
  const least = Math.min(...shown);
  const span = Math.max(...shown) - least;
  return shown
    .map((value) => bars[span === 0 ? 0 : Math.min(7, Math.floor(((value - least) / span) * 7.999))])
    .join("");
}
