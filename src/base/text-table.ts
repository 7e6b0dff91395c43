/** Columns of text aligned for a fixed-width screen. Cells must already be escaped for where they are shown. */
export interface Column {
  title: string;
  align?: "left" | "right";
}

/** Lines of an aligned table, header first, two spaces between columns, no trailing spaces. */
export function textTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const widths = columns.map((column, i) =>
    rows.reduce((w, row) => Math.max(w, displayWidth(row[i] ?? "")), column.title.length),
  );
  const line = (cells: readonly string[]): string =>
    columns
      .map((column, i) => {
        const cell = cells[i] ?? "";
        const fill = " ".repeat(Math.max(0, widths[i]! - displayWidth(cell)));
        return column.align === "right" ? fill + cell : cell + fill;
      })
      .join("  ")
      .trimEnd();
  return [line(columns.map((column) => column.title)), ...rows.map(line)];
}

/**
 * How many terminal cells a text takes: wide East Asian characters and emoji two, combining marks none, escape
 * sequences for colour none.
 */
export function displayWidth(text: string): number {
  // Almost every name is ASCII: no need to look at code points then.
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let width = 0;
  for (const char of text.replace(/\x1b\[[0-9;]*m/g, "")) width += charWidth(char.codePointAt(0)!);
  return width;
}

function charWidth(code: number): number {
  if (code < 32 || (code >= 0x7f && code < 0xa0)) return 0;
  if (
    (code >= 0x300 && code <= 0x36f) ||
    code === 0x200d ||
    (code >= 0x200b && code <= 0x200f) ||
    (code >= 0xfe00 && code <= 0xfe0f)
  )
    return 0;
  const wide =
    (code >= 0x1100 && code <= 0x115f) ||
    (code >= 0x2e80 && code <= 0xa4cf && code !== 0x303f) ||
    (code >= 0xac00 && code <= 0xd7a3) ||
    (code >= 0xf900 && code <= 0xfaff) ||
    (code >= 0xfe30 && code <= 0xfe6f) ||
    (code >= 0xff00 && code <= 0xff60) ||
    (code >= 0xffe0 && code <= 0xffe6) ||
    (code >= 0x1f300 && code <= 0x1f64f) ||
    (code >= 0x1f680 && code <= 0x1f6ff) ||
    (code >= 0x1f900 && code <= 0x1f9ff) ||
    (code >= 0x20000 && code <= 0x3fffd);
  return wide ? 2 : 1;
}
