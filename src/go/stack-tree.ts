import { Float64Column, Int32Column } from "../base/columns.ts";
import type { Address, Bytes } from "../base/units.ts";
import type { CodePoint, CodeTable } from "./code-table.ts";

const TWO_32 = 4294967296;

/** More distinct stack positions than programs have; a tree that grows past it is thrown away by its owner. */
export const mostNodes = 1 << 22;

const notCode = -1;
const externalCode = -2;

/** Where a stack is read from: 32-bit words of a copy of it, from its stack pointer up. */
export interface StackCopy {
  words: Uint32Array;
  /** Index of the word that the stack pointer points to. */
  at: number;
  /** How many bytes there are from the stack pointer to the stack's upper end. */
  length: Bytes;
}

/**
 * All call stacks seen, as a tree of code points from the innermost frame outwards: a stack is the node of its
 * outermost frame. Unwinding follows known nodes, so that of a stack seen before nothing but its return addresses is
 * read; there is no object per frame or node.
 */
export class StackTree {
  private readonly code: CodeTable;
  readonly points: CodePoint[] = [];
  private readonly pointIds = new Map<CodePoint, number>();
  private readonly parents = new Int32Column(1024);
  private readonly pointOf = new Int32Column(1024);
  /** How far the return address' end lies above the frame's stack pointer; 0 where the stack ends with the frame. */
  private readonly steps = new Int32Column(1024);
  /** The first caller seen, by its pc: most frames have one caller only. */
  private readonly firstPc = new Float64Column(1024);
  private readonly firstChild = new Int32Column(1024);
  private readonly otherChildren = new Map<number, Map<Address, number>>();
  /** Set by {@link walk}: the return address that is no Go code, or 0. */
  brokenAt: Address = 0;

  constructor(code: CodeTable) {
    this.code = code;
    // Two roots: goroutines that left their stack by a system call, and all others.
    for (let root = 0; root < 2; root++) this.append(-1, -1, 0);
  }

  get size(): number {
    return this.parents.length;
  }

  /**
   * Unwinds a stack whose innermost frame stands at `pc`. Returns the node of its outermost frame; below 2 where not
   * even the innermost is Go code. Where the stack does not hold together, {@link brokenAt} tells at which address.
   */
  walk(stack: StackCopy, pc: Address, syscall: boolean): number {
    this.brokenAt = 0;
    const { words, length } = stack;
    let node = syscall ? 1 : 0;
    let above = 0;
    for (;;) {
      const next = this.firstPc.data[node] === pc ? this.firstChild.data[node]! : this.child(node, pc);
      if (next < 0) {
        if (next === notCode) this.brokenAt = pc;
        return node;
      }
      node = next;
      const step = this.steps.data[node]!;
      if (step === 0) return node;
      above += step;
      if (above > length) {
        this.brokenAt = pc;
        return node;
      }
      const word = stack.at + ((above - 8) >> 2);
      pc = words[word]! + words[word + 1]! * TWO_32;
      if (pc === 0) return node;
    }
  }

  /** The caller at `pc` of the frame of a node; negative where the stack is not to be followed. */
  private child(node: number, pc: Address): number {
    const known = this.otherChildren.get(node)?.get(pc);
    if (known !== undefined) return known;
    const point = this.code.point(pc, node > 1 && this.point(node).injected);
    if (!point || this.size >= mostNodes) return notCode;
    // External code without frame information (race support) ends a traceback without a word.
    if (point.end === "no frame") return externalCode;
    const made = this.append(node, this.pointId(point), stepOf(point, node));
    if (this.firstChild.data[node]! < 0) {
      this.firstPc.data[node] = pc;
      this.firstChild.data[node] = made;
    } else {
      const others = this.otherChildren.get(node) ?? new Map<Address, number>();
      this.otherChildren.set(node, others.set(pc, made));
    }
    return made;
  }

  private append(parent: number, point: number, step: number): number {
    const node = this.size;
    this.parents.push(parent);
    this.pointOf.push(point);
    this.steps.push(step);
    this.firstPc.push(-1);
    this.firstChild.push(-1);
    return node;
  }

  private pointId(point: CodePoint): number {
    let id = this.pointIds.get(point);
    if (id === undefined) {
      id = this.points.push(point) - 1;
      this.pointIds.set(point, id);
    }
    return id;
  }

  /** The frame that a node ends with. */
  point(node: number): CodePoint {
    return this.points[this.pointOf.data[node]!]!;
  }

  /** The node of the frame that this one's called; below 2 for the innermost. */
  callee(node: number): number {
    return this.parents.data[node]!;
  }

  /** The physical frames of a stack, innermost first. */
  stack(node: number): CodePoint[] {
    const points: CodePoint[] = [];
    for (let at = node; at > 1; at = this.callee(at)) points.push(this.point(at));
    return points.reverse();
  }
}

/** A frame that writes SP cannot be unwound, but for the one that left its registers behind for a system call. */
function stepOf(point: CodePoint, callee: number): number {
  if (point.end === "top" || (point.end === "writes sp" && callee !== 1)) return 0;
  return point.frameSize + 8;
}
