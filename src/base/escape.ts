/** Makes text from a target harmless for the place where it is shown. */

/** For terminals: control characters (C0, DEL, C1) become \xNN escapes, so that a name cannot drive the terminal. */
export function escapeTerminal(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

const htmlEntities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** For HTML and SVG text and quoted attributes; characters that XML 1.0 forbids become U+FFFD. */
export function escapeHtml(text: string): string {
  return text
    .replace(/[&<>"']/g, (c) => htmlEntities[c] ?? c)
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, "\ufffd");
}

/** JSON to be placed inside a <script> element: `</script>` and `<!--` cannot end or open anything. */
export function escapeScriptJson(json: string): string {
  return json
    .replace(/</g, "\\u003c")
    .replace(/\u2028/g, "\\u2028")
    .replace(/\u2029/g, "\\u2029");
}
