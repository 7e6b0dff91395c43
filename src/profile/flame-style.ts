/** The style sheet of the flame graph page; follows the reader's light or dark scheme. */
export const pageStyle = `
:root { color-scheme: light dark; --back: #fff; --text: #1a1a1a; --soft: #667; --line: #ccd; --bar: #f3f4f7; }
@media (prefers-color-scheme: dark) { :root { --back: #17181c; --text: #e8e8ea; --soft: #9aa; --line: #3a3c44; --bar: #22242a; } }
* { box-sizing: border-box; }
html, body { margin: 0; height: 100%; }
body { display: flex; flex-direction: column; background: var(--back); color: var(--text); font: 13px/1.4 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; padding: 8px 12px; background: var(--bar); border-bottom: 1px solid var(--line); }
h1 { font-size: 15px; margin: 0 8px 0 0; overflow-wrap: anywhere; }
button, select, input { font: inherit; color: inherit; background: var(--back); border: 1px solid var(--line); border-radius: 4px; padding: 3px 8px; }
button[aria-pressed="true"] { background: #2563eb; border-color: #2563eb; color: #fff; }
input { min-width: 220px; }
#matched { color: #b3198f; min-width: 8em; font-weight: 600; }
#about, #trail { padding: 4px 12px; color: var(--soft); white-space: pre-wrap; overflow-wrap: anywhere; }
#trail:empty { display: none; }
#trail button { border: 0; background: none; padding: 0 2px; color: #2563eb; cursor: pointer; }
main { flex: 1; min-height: 200px; overflow: auto; padding: 0 12px; }
#space { position: relative; }
canvas { position: sticky; top: 0; display: block; cursor: pointer; }
#tip { position: fixed; z-index: 2; max-width: 70vw; padding: 6px 9px; background: var(--bar); border: 1px solid var(--line); border-radius: 4px; box-shadow: 0 2px 8px #0004; pointer-events: none; white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th { position: sticky; top: 0; background: var(--bar); cursor: pointer; text-align: right; padding: 4px 10px; white-space: nowrap; }
th:last-child, td:last-child { text-align: left; width: 99%; overflow-wrap: anywhere; }
td { text-align: right; padding: 2px 10px; border-top: 1px solid var(--line); font-variant-numeric: tabular-nums; white-space: nowrap; }
td:last-child { white-space: normal; }
td small { color: var(--soft); }
tr.hit td:last-child { color: #b3198f; font-weight: 600; }
`;
