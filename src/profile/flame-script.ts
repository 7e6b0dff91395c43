/**
 * The script of the flame graph page. It runs in the reader's browser, not in Node, which is why it is text. What it
 * shows is in the page's address behind "#": view, type, search and zoom, so that a view can be sent to someone else.
 * Text from the profile reaches the page through textContent and fillText alone.
 */
export const pageScript = String.raw`"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("profile").textContent);
const diff = data.before.length > 0;
const ROW = 19, MAX_ROWS_IN_TABLE = 1000;
const state = { view: "flame", type: 0, search: "", zoom: [], sort: diff ? "delta" : "self" };
const trees = {};
let tree, zoomed = 0, matcher = null, boxes = [], drawn = 0;

// Values for people, in the unit that fits.
const scales = {
  nanoseconds: [["ns", 1], ["µs", 1e3], ["ms", 1e6], ["s", 1e9]], microseconds: [["µs", 1], ["ms", 1e3], ["s", 1e6]],
  milliseconds: [["ms", 1], ["s", 1e3]], seconds: [["s", 1]],
  bytes: [["B", 1], ["KiB", 1024], ["MiB", 1024 ** 2], ["GiB", 1024 ** 3], ["TiB", 1024 ** 4]] };
function format(value) {
  const unit = data.types[state.type].unit, scale = scales[unit];
  if (!scale) return value.toLocaleString("en") + (unit === "count" ? "" : " " + unit);
  const abs = Math.abs(value);
  let best = scale[0];
  for (const step of scale) if (abs >= step[1]) best = step;
  return String(Number((value / best[1]).toFixed(2))) + best[0];
}
const percent = (value, of) => of ? (100 * value / of).toFixed(2) + "%" : "0%";
const signed = (value) => (value > 0 ? "+" : "") + format(value);

// A tree of columns: node 0 is the root.
function finishTree(t, byWeight) {
  const n = t.parent.length;
  t.depth = new Int32Array(n);
  t.children = Array.from({ length: n }, () => null);
  t.maxDepth = 0;
  for (let i = 1; i < n; i++) {
    t.depth[i] = t.depth[t.parent[i]] + 1;
    if (t.depth[i] > t.maxDepth) t.maxDepth = t.depth[i];
    (t.children[t.parent[i]] ??= []).push(i);
  }
  t.width = (i) => Math.max(0, t.total[i]);
  // By name, so that two pages of the same program can be compared; leaves of the inverted view by weight.
  const byName = (a, b) => (data.names[t.frame[a]] < data.names[t.frame[b]] ? -1 : 1);
  for (const list of t.children) if (list) list.sort(byWeight ? (a, b) => t.total[b] - t.total[a] || byName(a, b) : byName);
  return t;
}
function callers() {
  const v = data.values[state.type], b = data.before[state.type];
  return finishTree({ parent: data.parent, frame: data.frame, self: v.self, total: v.total, before: b && b.total, beforeSelf: b && b.self });
}
// Leaves first: every path with a value of its own, walked from its leaf to the root.
function inverted() {
  const v = data.values[state.type], b = data.before[state.type];
  const t = { parent: [-1], frame: [-1], self: [0], total: [0], before: b && [0], beforeSelf: b && [0] };
  const ids = new Map();
  const names = data.names.length + 1;
  for (let i = 1; i < data.parent.length; i++) {
    const value = v.self[i], old = b ? b.self[i] : 0;
    if (!value && !old) continue;
    let at = 0;
    t.total[0] += value;
    if (b) t.before[0] += old;
    for (let node = i; node > 0 && t.parent.length < 400000; node = data.parent[node]) {
      const key = at * names + data.frame[node];
      let next = ids.get(key);
      if (next === undefined) {
        next = t.parent.length;
        ids.set(key, next);
        t.parent.push(at); t.frame.push(data.frame[node]); t.self.push(0); t.total.push(0);
        if (b) { t.before.push(0); t.beforeSelf.push(0); }
      }
      t.total[next] += value;
      if (b) t.before[next] += old;
      at = next;
    }
    t.self[at] += value;
  }
  return finishTree(t, true);
}
function currentTree() {
  const key = (state.view === "inverted" ? "i" : "f") + state.type;
  return (trees[key] ??= state.view === "inverted" ? inverted() : callers());
}

const nameOf = (node) => node === 0 ? "all" : data.names[tree.frame[node]];
function placeOf(frame) {
  const file = data.paths[data.files[frame]];
  return file ? file + (data.lines_[frame] ? ":" + data.lines_[frame] : "") : "";
}
const hues = new Map();
function hueOf(frame) {
  let hue = hues.get(frame);
  if (hue === undefined) {
    let h = 0;
    const name = data.names[frame];
    for (let i = 0; i < name.length; i++) h = (h * 31 + name.charCodeAt(i)) | 0;
    hue = Math.abs(h) % 50;
    hues.set(frame, hue);
  }
  return hue;
}
function colourOf(node) {
  if (diff) {
    // Growth red, decline blue; the strength is the change as a part of the whole.
    const whole = Math.max(1, tree.total[0], tree.before[0]);
    const change = (tree.total[node] - tree.before[node]) / whole;
    const strength = Math.min(1, Math.sqrt(Math.abs(change)) * 2);
    if (Math.abs(change) < 1e-4) return "hsl(0 0% 85%)";
    return change > 0 ? "hsl(5 85% " + (88 - 38 * strength) + "%)" : "hsl(215 85% " + (88 - 33 * strength) + "%)";
  }
  return node === 0 ? "hsl(40 10% 80%)" : "hsl(" + (10 + hueOf(tree.frame[node])) + " 88% 66%)";
}

const canvas = $("canvas"), pen = canvas.getContext("2d"), main = document.querySelector("main");
function layout() {
  const style = getComputedStyle(main);
  const width = Math.max(200, main.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
  const height = Math.max(100, main.clientHeight);
  const ratio = window.devicePixelRatio || 1;
  canvas.width = width * ratio; canvas.height = height * ratio;
  canvas.style.width = width + "px"; canvas.style.height = height + "px";
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { width, height };
}
function draw() {
  tree = currentTree();
  const table = state.view === "table";
  $("space").hidden = table; canvas.hidden = table; $("table").hidden = !table;
  if (table) { drawTable(); return; }
  $("space").style.height = (tree.maxDepth + 2) * ROW + "px";
  const { width, height } = layout();
  boxes = []; drawn = 0;
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const top = main.scrollTop;
  const chain = [];
  for (let at = zoomed; at >= 0; at = tree.parent[at]) chain.push(at);
  for (const node of chain.reverse()) box(node, 0, width, top, height);
  if (tree.total[zoomed] > 0 && tree.children[zoomed]) spread(zoomed, 0, width, top, height);
  canvas.dataset.drawn = String(drawn);
}
// Without recursion: stacks can be deeper than the browser's own.
function spread(start, x, width, top, height) {
  const work = [[start, x, width]];
  while (work.length > 0) {
    const [node, left, span] = work.pop();
    const list = tree.children[node];
    if (!list) continue;
    let sum = 0;
    for (const child of list) sum += tree.width(child);
    const unit = span / Math.max(sum, tree.width(node), 1);
    let at = left;
    for (const child of list) {
      const w = tree.width(child) * unit;
      if (w >= 0.4) {
        box(child, at, w, top, height);
        if ((tree.depth[child] + 1) * ROW < top + height) work.push([child, at, w]);
      }
      at += w;
    }
  }
}
function box(node, x, w, top, height) {
  const y = tree.depth[node] * ROW - top;
  if (y < -ROW || y > height) return;
  const hit = matcher && node > 0 && matcher.test(nameOf(node));
  pen.fillStyle = hit ? "#e879d6" : colourOf(node);
  pen.globalAlpha = tree.depth[node] < tree.depth[zoomed] ? 0.45 : 1;
  pen.fillRect(x, y, Math.max(0.5, w - 0.6), ROW - 1);
  if (w > 28) {
    pen.fillStyle = "#111";
    let text = nameOf(node);
    const room = Math.floor((w - 6) / 6.2);
    if (text.length > room) text = room > 1 ? text.slice(0, room - 1) + "…" : "";
    pen.fillText(text, x + 4, y + ROW / 2, w - 6);
  }
  pen.globalAlpha = 1;
  boxes.push(x, y, w, node);
  drawn++;
}
function nodeAt(event) {
  const rect = canvas.getBoundingClientRect();
  const x = event.clientX - rect.left, y = event.clientY - rect.top;
  for (let i = 0; i < boxes.length; i += 4) {
    if (x >= boxes[i] && x < boxes[i] + boxes[i + 2] && y >= boxes[i + 1] && y < boxes[i + 1] + ROW) return boxes[i + 3];
  }
  return -1;
}
function describe(node) {
  const lines = [nameOf(node)];
  if (node > 0 && placeOf(tree.frame[node])) lines.push(placeOf(tree.frame[node]));
  lines.push(format(tree.total[node]) + " (" + percent(tree.total[node], tree.total[0]) + " of all" +
    (zoomed > 0 ? ", " + percent(tree.total[node], tree.total[zoomed]) + " of the zoomed" : "") + ")");
  if (tree.self[node]) lines.push("itself " + format(tree.self[node]) + " (" + percent(tree.self[node], tree.total[0]) + ")");
  if (diff) lines.push("before " + format(tree.before[node]) + ", change " + signed(tree.total[node] - tree.before[node]));
  return lines.join("\n");
}

// Functions with what they spent themselves and with what they called; a recursive function counts once a stack.
function functions() {
  const t = (trees["f" + state.type] ??= callers());
  const rows = new Map();
  const on = new Map();
  const work = [[0, false]];
  while (work.length > 0) {
    const [node, done] = work.pop();
    const name = node > 0 ? t.frame[node] : -1;
    if (done) { on.set(name, on.get(name) - 1); continue; }
    if (node > 0) {
      let row = rows.get(name);
      if (!row) rows.set(name, (row = { frame: name, self: 0, total: 0, oldSelf: 0, oldTotal: 0 }));
      row.self += t.self[node];
      if (diff) row.oldSelf += t.beforeSelf[node];
      const above = on.get(name) || 0;
      if (above === 0) { row.total += t.total[node]; if (diff) row.oldTotal += t.before[node]; }
      on.set(name, above + 1);
      work.push([node, true]);
    }
    for (const child of t.children[node] || []) work.push([child, false]);
  }
  return { rows: [...rows.values()], total: t.total[0] };
}
function drawTable() {
  const { rows, total } = functions();
  const keys = { self: (r) => r.self, total: (r) => r.total, delta: (r) => Math.abs(r.self - r.oldSelf), deltaTotal: (r) => Math.abs(r.total - r.oldTotal) };
  const name = (r) => data.names[r.frame];
  const shown = rows.filter((r) => !matcher || matcher.test(name(r)));
  if (state.sort === "name") shown.sort((a, b) => (name(a) < name(b) ? -1 : 1));
  else shown.sort((a, b) => keys[state.sort](b) - keys[state.sort](a) || b.total - a.total);
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  const columns = [["self", "Self"], ["self", "Self %"], ["total", "Total"], ["total", "Total %"]];
  if (diff) columns.push(["delta", "Self change"], ["deltaTotal", "Total change"]);
  columns.push(["name", "Function"]);
  for (const [key, text] of columns) {
    const cell = document.createElement("th");
    cell.textContent = text + (state.sort === key && !text.includes("%") ? " ▾" : "");
    cell.onclick = () => { state.sort = key; draw(); };
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of shown.slice(0, MAX_ROWS_IN_TABLE)) {
    const line = body.insertRow();
    const cells = [format(row.self), percent(row.self, total), format(row.total), percent(row.total, total)];
    if (diff) cells.push(signed(row.self - row.oldSelf), signed(row.total - row.oldTotal));
    for (const text of cells) line.insertCell().textContent = text;
    const cell = line.insertCell();
    cell.textContent = name(row);
    const place = placeOf(row.frame);
    if (place) { const small = document.createElement("small"); small.textContent = "  " + place; cell.append(small); }
    cell.title = "search for this function";
    cell.onclick = () => { state.search = "^" + name(row).replace(/[.*+?^\x24{}()|[\]\\]/g, "\\$&") + "$"; state.view = "flame"; apply(); };
  }
  const note = document.createElement("p");
  note.textContent = shown.length > MAX_ROWS_IN_TABLE ? "the first " + MAX_ROWS_IN_TABLE + " of " + shown.length + " functions" : shown.length + " functions";
  $("table").replaceChildren(table, note);
}

function search() {
  matcher = null;
  $("matched").textContent = "";
  if (!state.search) return;
  try { matcher = new RegExp(state.search, "i"); } catch { $("matched").textContent = "not a regular expression"; return; }
  const hits = data.names.map((name) => matcher.test(name));
  // What passes through any match, each stack once.
  const t = (trees["f" + state.type] ??= callers());
  let sum = 0;
  const covered = new Uint8Array(t.parent.length);
  for (let i = 1; i < t.parent.length; i++) {
    if (covered[t.parent[i]]) covered[i] = 1;
    else if (hits[t.frame[i]]) { covered[i] = 1; sum += t.total[i]; }
  }
  $("matched").textContent = "matched " + percent(sum, t.total[0]);
}
function trail() {
  const path = [];
  for (let at = zoomed; at >= 0; at = tree.parent[at]) path.push(at);
  const parts = zoomed === 0 ? [] : path.reverse().map((node) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = nameOf(node) + (node === zoomed ? "" : " ›");
    button.onclick = () => { zoomTo(node); };
    return button;
  });
  $("trail").replaceChildren(...parts);
}
function zoomTo(node) {
  state.zoom = [];
  for (let at = node; at > 0; at = tree.parent[at]) state.zoom.unshift(tree.frame[at]);
  apply();
}
function findZoom() {
  let at = 0;
  for (const frame of state.zoom) {
    const next = (tree.children[at] || []).find((child) => tree.frame[child] === frame);
    if (next === undefined) break;
    at = next;
  }
  return at;
}
function apply() {
  tree = currentTree();
  zoomed = findZoom();
  for (const button of document.querySelectorAll("[data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === state.view));
  $("type").value = String(state.type);
  if ($("search").value !== state.search) $("search").value = state.search;
  search();
  trail();
  const lines = [...data.lines, "Total: " + format(tree.total[0]) + (diff ? ", before " + format(tree.before[0]) + " (red grew, blue shrank)" : "")];
  if (data.omitted > 0) lines.push(data.omitted + " of the smallest boxes are left out");
  $("about").textContent = lines.join("  ·  ");
  const words = new URLSearchParams();
  if (state.view !== "flame") words.set("view", state.view);
  if (state.type) words.set("type", data.types[state.type].type);
  if (state.search) words.set("search", state.search);
  if (state.zoom.length) words.set("zoom", state.zoom.join("."));
  const hash = words.toString();
  if (hash !== location.hash.slice(1)) history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search);
  draw();
}
function readAddress() {
  const words = new URLSearchParams(location.hash.slice(1));
  const view = words.get("view");
  state.view = ["flame", "inverted", "table"].includes(view) ? view : "flame";
  state.type = Math.max(0, data.types.findIndex((type) => type.type === words.get("type")));
  state.search = words.get("search") || "";
  state.zoom = (words.get("zoom") || "").split(".").filter(Boolean).map(Number);
}

data.types.forEach((type, index) => {
  const option = document.createElement("option");
  option.value = String(index);
  option.textContent = type.type + (type.unit && type.unit !== "count" ? " (" + type.unit + ")" : "");
  $("type").append(option);
});
$("type").onchange = () => { state.type = Number($("type").value); apply(); };
for (const button of document.querySelectorAll("[data-view]")) button.onclick = () => { state.view = button.dataset.view; state.zoom = []; main.scrollTop = 0; apply(); };
$("search").oninput = () => { state.search = $("search").value; apply(); };
$("reset").onclick = () => { state.zoom = []; apply(); };
canvas.onclick = (event) => { const node = nodeAt(event); if (node >= 0) zoomTo(node); };
canvas.onmousemove = (event) => {
  const node = nodeAt(event), tip = $("tip");
  tip.hidden = node < 0;
  if (node < 0) return;
  tip.textContent = describe(node);
  tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = Math.min(event.clientY + 18, innerHeight - tip.offsetHeight - 8) + "px";
};
canvas.onmouseleave = () => { $("tip").hidden = true; };
main.onscroll = () => { if (state.view !== "table") draw(); };
addEventListener("resize", draw);
addEventListener("hashchange", () => { readAddress(); apply(); });
addEventListener("keydown", (event) => {
  if (event.key === "Escape") { state.zoom = []; state.search = ""; apply(); }
  else if (event.key === "/" && event.target !== $("search")) { event.preventDefault(); $("search").focus(); }
});
readAddress();
apply();
})();
`;
