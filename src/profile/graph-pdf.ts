/** The call graph as a PDF of one page, its text selectable: Graphviz's drawing operations, drawn by pdfkit. */
import { dotOf } from "./dot.ts";
import { graphviz } from "./graph-drawing.ts";
import type { Profile } from "./model.ts";

const MARGIN = 8;
/** The largest page that PDF readers must take, in points. */
const MAX_PAGE = 14_000;

/** One operation of Graphviz's xdot (https://graphviz.org/docs/outputs/canon/#xdot), as its JSON output writes it. */
interface Operation {
  readonly op: string;
  readonly color?: string;
  readonly size?: number;
  readonly style?: string;
  readonly points?: readonly (readonly [number, number])[];
  readonly pt?: readonly [number, number];
  readonly align?: "l" | "c" | "r";
  readonly width?: number;
  readonly text?: string;
}

type Drawn = { readonly [key: string]: unknown };

interface Layout {
  readonly bb: string;
  readonly _draw_?: readonly Operation[];
  readonly objects?: readonly Drawn[];
  readonly edges?: readonly Drawn[];
}

export async function graphPdf(profile: Profile, type: number, title?: string): Promise<Uint8Array> {
  const viz = await graphviz();
  const dot = dotOf(profile, type, { title, text: latin1Text });
  const layout = JSON.parse(viz.layout(dot, "json", "dot")) as Layout;
  const { default: PDFDocument } = await import("pdfkit");
  const [left, bottom, right, top] = layout.bb.split(",").map(Number) as [number, number, number, number];
  const width = right - left + 2 * MARGIN;
  const height = top - bottom + 2 * MARGIN;
  const scale = Math.min(1, MAX_PAGE / Math.max(width, height));
  const document = new PDFDocument({
    size: [width * scale, height * scale],
    margin: 0,
    info: { Title: title ?? "call graph", Producer: "procscope", Creator: "procscope" },
  });
  const chunks: Uint8Array[] = [];
  const done = new Promise<void>((resolve, reject) => {
    document.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    document.on("end", resolve);
    document.on("error", reject);
  });
  // Graphviz counts upwards from the lower left corner, pdfkit downwards from the upper left.
  document.scale(scale).translate(MARGIN - left, MARGIN);
  const pen = new Pen(document, top);
  for (const object of layout.objects ?? []) pen.drawAll(object);
  for (const edge of layout.edges ?? []) pen.drawAll(edge);
  document.end();
  await done;
  return Buffer.concat(chunks);
}

/**
 * The fonts that every PDF reader has hold Latin-1 only: other characters are written as `\u{3c0}` rather than as
 * nothing.
 */
export function latin1Text(text: string): string {
  return text
    .replace(/…/g, "...")
    .replace(/[^\x20-\x7e\xa1-\xff]/gu, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`);
}

class Pen {
  private readonly document: PDFKit.PDFDocument;
  private readonly top: number;
  private stroke = "#000000";
  private fill = "#000000";
  private size = 14;

  constructor(document: PDFKit.PDFDocument, top: number) {
    this.document = document;
    this.top = top;
  }

  drawAll(object: Drawn): void {
    for (const key of ["_draw_", "_hdraw_", "_tdraw_", "_ldraw_"]) {
      this.stroke = "#000000";
      this.document.lineWidth(1).undash();
      for (const operation of (object[key] as readonly Operation[] | undefined) ?? []) this.draw(operation);
    }
  }

  private draw(operation: Operation): void {
    switch (operation.op) {
      case "c":
        this.stroke = operation.color ?? this.stroke;
        break;
      case "C":
        this.fill = operation.color ?? this.fill;
        break;
      case "F":
        this.size = operation.size ?? this.size;
        break;
      case "S":
        this.style(operation.style ?? "");
        break;
      case "P":
      case "p":
        this.polygon(operation.points ?? [], operation.op === "P");
        break;
      case "b":
      case "B":
        this.curve(operation.points ?? []);
        break;
      case "T":
        this.text(operation);
        break;
    }
  }

  private style(style: string): void {
    const width = /^setlinewidth\(([\d.]+)\)/.exec(style);
    if (width) this.document.lineWidth(Number(width[1]));
    else if (style === "dotted") this.document.dash(1, { space: 4 });
    else if (style === "dashed") this.document.dash(6, { space: 2 });
  }

  private polygon(points: readonly (readonly [number, number])[], filled: boolean): void {
    this.document.polygon(...points.map(([x, y]) => [x, this.top - y]));
    if (filled) this.document.fillAndStroke(this.fill, this.stroke);
    else this.document.stroke(this.stroke);
  }

  private curve(points: readonly (readonly [number, number])[]): void {
    const at = (i: number): [number, number] => [points[i]![0], this.top - points[i]![1]];
    this.document.moveTo(...at(0));
    for (let i = 1; i + 2 < points.length; i += 3) this.document.bezierCurveTo(...at(i), ...at(i + 1), ...at(i + 2));
    this.document.stroke(this.stroke);
  }

  private text({ pt, align, width = 0, text = "" }: Operation): void {
    if (!pt) return;
    // The JSON output keeps the backslashes of the DOT source doubled, and its entities as they are.
    const shown = text.replace(/\\\\/g, "\\").replace(/&amp;/g, "&");
    this.document.font("Helvetica").fontSize(this.size).fillColor(this.stroke);
    const real = this.document.widthOfString(shown);
    const x = pt[0] - (align === "c" ? real / 2 : align === "r" ? real : 0);
    // Graphviz estimates widths: never let the text leave the box that was made for it.
    const fit = width > 0 && real > width * 1.1 ? (width * 1.1) / real : 1;
    if (fit < 1) this.document.fontSize(this.size * fit);
    const shift = align === "c" ? (real - real * fit) / 2 : 0;
    this.document.text(shown, x + shift, this.top - pt[1], { lineBreak: false, baseline: "alphabetic" });
  }
}
