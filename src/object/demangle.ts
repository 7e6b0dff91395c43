/**
 * Names for people from linkers' names: Rust's legacy scheme whole, and of C++ (Itanium ABI) and Rust v0 what a profile
 * shows: the qualified name. Template arguments are written `<…>`, parameters are left out. What does not parse stays as
 * it is.
 */

const operators: Record<string, string> = {
  nw: "new",
  na: "new[]",
  dl: "delete",
  da: "delete[]",
  pl: "+",
  mi: "-",
  ml: "*",
  dv: "/",
  rm: "%",
  an: "&",
  or: "|",
  eo: "^",
  aS: "=",
  pL: "+=",
  mI: "-=",
  mL: "*=",
  dV: "/=",
  rM: "%=",
  aN: "&=",
  oR: "|=",
  eO: "^=",
  ls: "<<",
  rs: ">>",
  lS: "<<=",
  rS: ">>=",
  eq: "==",
  ne: "!=",
  lt: "<",
  gt: ">",
  le: "<=",
  ge: ">=",
  nt: "!",
  aa: "&&",
  oo: "||",
  pp: "++",
  mm: "--",
  cm: ",",
  pm: "->*",
  pt: "->",
  cl: "()",
  ix: "[]",
  co: "~",
  ps: "+",
  ng: "-",
  ad: "&",
  de: "*",
  ss: "<=>",
};

const standard: Record<string, string> = {
  St: "std",
  Sa: "std::allocator",
  Sb: "std::basic_string",
  Ss: "std::string",
  Si: "std::istream",
  So: "std::ostream",
  Sd: "std::iostream",
};

/** The name for people, or the name as it is. */
export function demangle(name: string): string {
  if (name.startsWith("_R")) return rustV0(name) ?? name;
  if (!name.startsWith("_Z")) return name;
  try {
    return new Itanium(name).parse() ?? name;
  } catch (error) {
    if (error instanceof Unparsed) return name;
    throw error;
  }
}

class Unparsed extends Error {}

class Itanium {
  readonly #text: string;
  #at = 2;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): string | undefined {
    const special = this.#special();
    const name = this.#name();
    return name === "" ? undefined : special + rustLegacy(name);
  }

  #special(): string {
    const two = this.#text.slice(this.#at, this.#at + 2);
    const what: Record<string, string> = {
      TV: "vtable for ",
      TI: "typeinfo for ",
      TS: "typeinfo name for ",
      GV: "guard variable for ",
      TW: "thread-local wrapper of ",
      TH: "thread-local initialization of ",
    };
    const found = what[two] ?? "";
    if (found) this.#at += 2;
    return found;
  }

  #name(): string {
    // Names of local functions nest; no name written by hand is this deep.
    if (++this.#depth > 64) throw new Unparsed();
    let name: string;
    const c = this.#text[this.#at];
    if (c === "N") name = this.#nested();
    else if (c === "Z") name = this.#local();
    else {
      name = c === "S" && this.#text[this.#at + 1] === "t" ? this.#standard() : "";
      name = name === "" ? this.#unqualified("") : `${name}::${this.#unqualified("")}`;
      if (this.#text[this.#at] === "I") name += this.#templateArguments();
    }
    this.#depth--;
    return name;
  }

  #nested(): string {
    this.#at++;
    while ("rVKRO".includes(this.#text[this.#at] ?? " ")) this.#at++;
    const parts: string[] = [];
    for (;;) {
      const c = this.#text[this.#at];
      if (c === undefined) throw new Unparsed();
      if (c === "E") break;
      if (c === "I") parts[parts.length - 1] = `${parts.at(-1) ?? ""}${this.#templateArguments()}`;
      else if (c === "S") parts.push(this.#standard());
      else if (c === "L") this.#at++;
      else parts.push(this.#unqualified(parts.at(-1) ?? ""));
    }
    this.#at++;
    return parts.join("::");
  }

  #local(): string {
    this.#at++;
    const outer = this.#name();
    // The enclosing function's parameters, which are not shown, stand before the E: skip them one nesting deep.
    const end = this.#text.indexOf("E", this.#at);
    if (end < 0) throw new Unparsed();
    this.#at = end + 1;
    if (this.#text[this.#at] === "s") return `${outer}::string literal`;
    const inner = /^(d_?\d*_)?/.exec(this.#text.slice(this.#at))![0];
    this.#at += inner.length;
    return `${outer}::${this.#name()}`;
  }

  #standard(): string {
    const two = this.#text.slice(this.#at, this.#at + 2);
    const known = standard[two];
    if (known === undefined) throw new Unparsed();
    this.#at += 2;
    return known;
  }

  #unqualified(owner: string): string {
    const rest = this.#text.slice(this.#at);
    const length = /^\d+/.exec(rest)?.[0];
    if (length !== undefined) {
      const start = this.#at + length.length;
      const name = this.#text.slice(start, start + Number(length));
      if (name.length !== Number(length)) throw new Unparsed();
      this.#at = start + name.length;
      return name.startsWith("_GLOBAL__N") ? "(anonymous namespace)" : name;
    }
    const two = rest.slice(0, 2);
    if (/^[CD][0-5]/.test(two)) {
      this.#at += 2;
      const plain = owner.replace(/<…>$/, "");
      return two[0] === "C" ? plain : `~${plain}`;
    }
    const unnamed = /^U[lt]/.test(two) ? /^U(?:l.*?E|t)\d*_/.exec(rest)?.[0] : undefined;
    if (unnamed !== undefined) {
      this.#at += unnamed.length;
      return two === "Ul" ? "{lambda}" : "{unnamed}";
    }
    const operator = operators[two];
    if (operator === undefined) throw new Unparsed();
    this.#at += 2;
    return /^[a-z]/.test(operator) ? `operator ${operator}` : `operator${operator}`;
  }

  /** Passes over I … E, minding that names inside may hold any letter. */
  #templateArguments(): string {
    let depth = 0;
    for (;;) {
      const c = this.#text[this.#at];
      if (c === undefined) throw new Unparsed();
      const length = /^\d+/.exec(this.#text.slice(this.#at))?.[0];
      if (length !== undefined && this.#text[this.#at - 1] !== "L" && !/^[S_T]$/.test(this.#text[this.#at - 1] ?? "")) {
        this.#at += length.length + Number(length);
        continue;
      }
      // L…E literals, X…E expressions, N…E names, J…E packs, F…E functions and I…E arguments all close with E.
      if (c === "I" || c === "N" || c === "X" || c === "L" || c === "J" || c === "F") depth++;
      this.#at++;
      if (c === "E" && --depth === 0) return "<…>";
    }
  }
}

/** `path::to::function::h0123456789abcdef` with its escapes: the hash goes, `$LT$` and the like become what they stand for. */
function rustLegacy(name: string): string {
  const hash = /::h[0-9a-f]{16}$/.exec(name);
  if (!hash) return name;
  const escapes: Record<string, string> = { SP: "@", BP: "*", RF: "&", LT: "<", GT: ">", LP: "(", RP: ")", C: "," };
  return name
    .slice(0, hash.index)
    .split("::")
    .map((part) =>
      part
        .replace(/^_(?=\$)/, "")
        .replace(/\$([A-Z]{1,2})\$/g, (whole, code: string) => escapes[code] ?? whole)
        .replace(/\$u([0-9a-f]{1,6})\$/g, (_, code: string) =>
          String.fromCodePoint(Math.min(0x10ffff, Number.parseInt(code, 16))),
        )
        .replace(/\.\./g, "::"),
    )
    .join("::");
}

/** Rust's v0 scheme: the identifiers of the path in order, which is the qualified name without type arguments. */
function rustV0(name: string): string | undefined {
  const parts: string[] = [];
  // A nested path is N, its namespace letter and the path it lies in; crate roots are C. Others (impls, generics) end it.
  const header = /^_R(?:N[a-zA-Z])*C(?:s[0-9a-zA-Z]*_)?/.exec(name);
  if (!header) return undefined;
  let at = header[0].length;
  while (at < name.length) {
    const m = /^(?:s[0-9a-zA-Z]*_)?(u?)(\d+)_?/.exec(name.slice(at));
    if (!m) break;
    const start = at + m[0].length;
    const part = name.slice(start, start + Number(m[2]));
    if (part.length !== Number(m[2])) return undefined;
    parts.push(part === "" ? "{closure}" : part);
    at = start + part.length;
  }
  return parts.length > 1 ? parts.join("::") : undefined;
}
