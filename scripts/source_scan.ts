/** Tells code from comments, strings and regular expressions in TypeScript, as far as the checks need it. */

/** One module. Positions are those of the text that was scanned. */
export interface Scan {
  /** The text with comments, regular expressions and the inside of strings as blanks; line breaks are kept. */
  readonly code: string;
  /** String literals, and templates without `${}`; `start` is where the quotation mark is. */
  readonly strings: readonly { readonly start: number; readonly value: string }[];
}

/** An import or a re-export. */
export interface Import {
  readonly specifier: string;
  readonly start: number;
  /** `import("…")`, not a type. */
  readonly dynamic: boolean;
}

// A `/` after one of these begins a regular expression; after a name, a number or a closing bracket it divides.
const BEFORE_REGEX =
  /(?:^|[([{,;:=!&|?+\-*%<>~^]|\b(?:return|typeof|case|in|of|delete|void|throw|await|yield|else|do))\s*$/;

const TOKEN = new RegExp(
  [
    String.raw`\/\/.*`,
    String.raw`\/\*[\s\S]*?(?:\*\/|$)`,
    String.raw`"(?:[^"\\\n]|\\[\s\S])*"?`,
    String.raw`'(?:[^'\\\n]|\\[\s\S])*'?`,
    "[`{}/]",
  ].join("|"),
  "g",
);
const TEMPLATE_PART = /(?:[^`\\$]|\\[\s\S]|\$(?!\{))*(`|\$\{|$)/y;
const REGEX = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/\w*/y;

/** Scans one module. */
export function scan(text: string): Scan {
  const strings: { start: number; value: string }[] = [];
  let code = "", at = 0;
  const keep = (end: number): void => {
    code += text.slice(at, end);
    at = end;
  };
  const blank = (end: number): void => {
    code += text.slice(at, end).replace(/[^\n]/g, " ");
    at = end;
  };
  /** For every open brace: whether it is the `${` of a template. */
  const braces: boolean[] = [];
  const template = (start: number): void => {
    TEMPLATE_PART.lastIndex = at;
    const [part = "", end = ""] = TEMPLATE_PART.exec(text) ?? [];
    blank(at + part.length - end.length);
    if (end === "`" && start >= 0) strings.push({ start, value: part.slice(0, -1) });
    if (end === "${") braces.push(true);
    keep(at + end.length);
  };
  for (;;) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) break;
    const { 0: token, index: start } = match;
    keep(start);
    if (token.startsWith("//") || token.startsWith("/*")) blank(start + token.length);
    else if (token === "`") {
      keep(start + 1);
      template(start);
    } else if (token === "{") {
      braces.push(false);
      keep(start + 1);
    } else if (token === "}") {
      keep(start + 1);
      if (braces.pop()) template(-1);
    } else if (token === "/") {
      REGEX.lastIndex = start;
      const regex = BEFORE_REGEX.test(code.slice(-40)) ? REGEX.exec(text)?.[0] : undefined;
      if (regex === undefined) keep(start + 1);
      else blank(start + regex.length);
    } else {
      strings.push({ start, value: token.slice(1, -1) });
      keep(start + 1);
      blank(start + token.length - 1);
      keep(start + token.length);
    }
  }
  keep(text.length);
  return { code, strings };
}

/** What the module imports and re-exports, types included. */
export function imports({ code, strings }: Scan): Import[] {
  return strings.flatMap(({ start, value }) => {
    const before = code.slice(Math.max(0, start - 200), start);
    const called = /\bimport\s*\(\s*$/.test(before);
    if (!called && !/\b(?:from|import)\s*$/.test(before)) return [];
    // `typeof import("…")` and `import("…").Type` are types.
    const after = code.slice(start + value.length + 2);
    const dynamic = called && !/\btypeof\s+import\s*\(\s*$/.test(before) && !/^\s*\)\s*\.\s*[A-Z]/.test(after);
    return [{ specifier: value, start, dynamic }];
  });
}

/** The line of `position`, from 1. */
export function lineOf(text: string, position: number): number {
  return text.slice(0, position).split("\n").length;
}
