import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ProfileBuilder } from "../../src/profile/builder.ts";
import { diffPage } from "../../src/profile/diff.ts";
import { encoderFor } from "../../src/profile/encoders.ts";
import type { Profile } from "../../src/profile/model.ts";
import { encoded, goProfile, load, missing, nodeProfile, scratch } from "./fixtures.ts";

const noBrowser = missing("chromium");
const noPoppler = missing("pdftoppm");

async function write(name: string, chunks: AsyncIterable<Uint8Array | string>): Promise<string> {
  const path = join(scratch, name);
  writeFileSync(path, await encoded(chunks));
  return path;
}

/** The page's document after its script ran, opened at `#hash` in a browser without a screen. */
function opened(path: string, hash = ""): string {
  const flags = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--window-size=1200,700",
    `--user-data-dir=${join(scratch, "browser")}`,
  ];
  return execFileSync("chromium", [...flags, "--virtual-time-budget=2000", "--dump-dom", `file://${path}${hash}`], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    timeout: 60_000,
  });
}

function textOf(html: string, id: string): string {
  const match =
    new RegExp(`<(\\w+)[^>]* id="${id}"[^>]*>([\\s\\S]*?)</\\1>`).exec(html) ??
    new RegExp(`<(\\w+) id="${id}"[^>]*>([\\s\\S]*?)</\\1>`).exec(html);
  return (match?.[2] ?? "")
    .replace(/<[^>]+>/g, " ")
    .replace(/&lt;/g, "<")
    .replace(/&gt;/g, ">")
    .replace(/&amp;/g, "&")
    .replace(/\s+/g, " ");
}

function small(): Profile {
  const builder = new ProfileBuilder({
    sampleTypes: [
      { type: "samples", unit: "count" },
      { type: "cpu", unit: "nanoseconds" },
    ],
  });
  const at = (name: string): number => builder.location(builder.function(name, "/src/app.js", 7), 9);
  const [main, parse, script] = ["main", "parse", "</script><b>bold"].map(at) as [number, number, number];
  builder.add(builder.stack([parse, main]), [3, 30e6]);
  builder.add(builder.stack([script, parse, main]), [5, 50e6]);
  builder.add(builder.stack([main]), [2, 20e6]);
  return builder.finish();
}

test("the page draws its boxes in a browser", { skip: noBrowser }, async () => {
  const path = await write("small.html", encoderFor("x.html").encode(small(), { title: "a </title> page" }));
  const page = opened(path);
  // all, main, parse and the function called </script>.
  assert.match(page, /<canvas id="canvas"[^>]* data-drawn="4"/);
  assert.match(textOf(page, "about"), /Type: cpu.*Total: 100ms/);
  assert.equal(page.includes("<b>bold"), false);
});

test("search says how much it matched", { skip: noBrowser }, async () => {
  const path = await write("small.html", encoderFor("x.html").encode(small()));
  assert.equal(textOf(opened(path, "#search=parse"), "matched"), "matched 80.00%");
  assert.equal(textOf(opened(path, "#search=script%3E"), "matched"), "matched 50.00%");
  assert.equal(textOf(opened(path, "#search=%5B"), "matched"), "not a regular expression");
});

test("zoom shows the way back, inverted starts at the leaves, types can be chosen", { skip: noBrowser }, async () => {
  const path = await write("small.html", encoderFor("x.html").encode(small()));
  const zoomed = opened(path, "#zoom=0.1");
  assert.match(textOf(zoomed, "trail"), /all › main › parse/);
  assert.match(zoomed, /data-drawn="4"/);
  // Leaves: main (1 box), parse < main (2), script < parse < main (3), and the root.
  assert.match(opened(path, "#view=inverted"), /data-drawn="7"/);
  assert.match(textOf(opened(path, "#type=samples"), "about"), /Total: 10$/);
});

test("the table lists functions by their own value, names as text", { skip: noBrowser }, async () => {
  const path = await write("small.html", encoderFor("x.html").encode(small()));
  const rows = textOf(opened(path, "#view=table"), "table");
  assert.match(
    rows,
    /50ms 50\.00% 50ms 50\.00% <\/script><b>bold .*30ms 30\.00% 80ms 80\.00% parse .*20ms 20\.00% 100ms 100\.00% main/,
  );
  assert.match(rows, /3 functions/);
});

test("the difference of two profiles shows growth and decline", { skip: noBrowser }, async () => {
  const after = small();
  after.samples.values[1]![0]! += 15e6;
  const path = await write("diff.html", diffPage(small(), after, { title: "before and after" }));
  const page = opened(path, "#view=table");
  assert.match(textOf(page, "about"), /Total: 115ms, before 100ms/);
  assert.match(textOf(page, "table"), /45ms 39\.13% 95ms 82\.61% \+15ms \+15ms parse/);
});

test("pages of real profiles show their functions", { skip: noBrowser || missing("go") }, async () => {
  for (const [file, name] of [
    [nodeProfile(), "tick"],
    [goProfile("cpu"), "main.(*worker).textWork"],
  ] as const) {
    const path = await write("real.html", encoderFor("x.html").encode(load(file)));
    assert.ok(textOf(opened(path, "#view=table"), "table").includes(name), name);
  }
});

test("the PDF's text is that of the graph and its page has the colours of the boxes", {
  skip: noPoppler || missing("go"),
}, async () => {
  for (const file of [nodeProfile(), goProfile("cpu")]) {
    const path = await write("graph.pdf", encoderFor("x.pdf").encode(load(file), { title: "π a graph" }));
    const text = execFileSync("pdftotext", ["-layout", path, "-"], { encoding: "utf8" });
    assert.match(text, /\\u\{3c0\} a graph/);
    assert.match(text, /Showing nodes accounting for/);
    assert.match(text, file === nodeProfile() ? /tick/ : /textWork/);
    assert.match(execFileSync("pdfinfo", [path], { encoding: "utf8" }), /Pages: +1\n/);
    execFileSync("pdftoppm", ["-r", "50", "-singlefile", path, join(scratch, "graph")]);
    const colours = coloursOf(readFileSync(join(scratch, "graph.ppm")));
    assert.ok(colours.ink > 500, `${colours.ink} dark pixels`);
    assert.ok(colours.tinted > 500, `${colours.tinted} pixels of box backgrounds`);
    assert.ok(colours.red > 50, `${colours.red} pixels of strong edges`);
  }
});

/** Counts of pixels in a binary PPM: text, pale reddish boxes, dark red edges. */
function coloursOf(ppm: Buffer): { ink: number; tinted: number; red: number } {
  const header = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(ppm.toString("latin1", 0, 40))!;
  const counts = { ink: 0, tinted: 0, red: 0 };
  for (let at = header[0].length; at + 2 < ppm.length; at += 3) {
    const [r, g, b] = [ppm[at]!, ppm[at + 1]!, ppm[at + 2]!];
    if (r < 80 && g < 80 && b < 80) counts.ink++;
    else if (r > 225 && g > 200 && g < 230 && b > 200 && b < 230) counts.tinted++;
    else if (r > 150 && g < 60 && b < 60) counts.red++;
  }
  return counts;
}
