/**
 * Writes `docs/options.md`: all options of all export paths, with their defaults, from the doc comments.
 *
 *     deno run -A scripts/options_document.ts
 */
// deno-lint-ignore-file no-console
import { readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { read } from "./run.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Interfaces that hold options: those of functions, and the parts of them that have a name. */
const OPTIONS =
  /(?:Options|Limits|Policy|Rate|Window|Stage|PauseWhen|Budget|Bounds|NotificationRule|QuietHours|Heartbeat|OperatorToken|ConsoleUser|PasswordUser|Attribution)$/;

interface JsDoc {
  readonly doc?: string;
  readonly tags?: readonly { readonly kind: string; readonly value?: string }[];
}

interface Property {
  readonly name: string;
  readonly optional?: boolean;
  readonly jsDoc?: JsDoc;
}

interface Declaration {
  readonly kind: string;
  readonly location: { readonly filename: string; readonly line: number };
  readonly jsDoc?: JsDoc;
  readonly def: { readonly properties?: readonly Property[]; readonly extends?: readonly Inherited[] };
}

interface Documentation {
  readonly nodes: Readonly<
    Record<
      string,
      { readonly symbols: readonly { readonly name: string; readonly declarations: readonly Declaration[] }[] }
    >
  >;
}

/** Returns the text of `docs/options.md`. */
export async function optionsDocument(): Promise<string> {
  const { name, exports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as {
    readonly name: string;
    readonly exports: Readonly<Record<string, string>>;
  };
  const paths = Object.entries(exports).filter(([path]) => path !== "./cli" && path !== "./create");
  const json = await read(process.execPath, ["doc", "--json", ...paths.map(([, file]) => file)], { cwd: root });
  const { nodes } = JSON.parse(json) as Documentation;
  const modules = new Map(Object.entries(nodes).map(([url, module]) => [relative(root, fileURLToPath(url)), module]));
  // An interface that two paths export belongs to the first one.
  const seen = new Set<string>();
  const sections = paths.flatMap(([path, file]) => {
    const interfaces = (modules.get(join(file))?.symbols ?? []).flatMap(({ name, declarations }) =>
      declarations.filter(({ kind, location: { filename, line } }) => {
        const place = `${filename}:${line}`;
        if (kind !== "interface" || !OPTIONS.test(name) || seen.has(place)) return false;
        seen.add(place);
        return true;
      }).map((declaration) => section(name, declaration))
    ).filter((text) => text !== undefined).sort();
    return interfaces.length === 0 ? [] : [`## ${join(name, path)}`, ...interfaces];
  });
  return [
    "# Options",
    "All options, by the module that exports them. Generated from the doc comments, which the\n" +
    "[reference](https://jsr.io/@b24/onappupdate/doc) has with types and examples. An option without a default is required,\n" +
    "or changes nothing when it is absent.",
    ...sections,
  ].join("\n\n") + "\n";
}

function section(name: string, { jsDoc, def }: Declaration): string | undefined {
  const rows = (def.properties ?? []).map(({ name, optional, jsDoc }) =>
    `| \`${name}\` | ${defaultOf(jsDoc) || (optional ? "" : "required")} | ${cell(jsDoc?.doc ?? "")} |`
  );
  if (rows.length === 0) return undefined;
  const inherited = (def.extends ?? []).map(inheritedFrom);
  const more = inherited.length === 0 ? "" : ` Besides, those of ${inherited.join(" and ")}.`;
  return `### ${name}\n\n${
    text(jsDoc?.doc ?? "")
  }${more}\n\n| option | default | what it does |\n| --- | --- | --- |\n${rows.join("\n")}`;
}

/** A type of an `extends` clause, as `deno doc` has it. */
interface Inherited {
  readonly repr: string;
  readonly value?: { readonly typeParams?: readonly { readonly repr: string }[] };
}

/** Returns the name of an interface whose options another one has too; of `Omit`, that of what it takes from. */
function inheritedFrom({ repr, value }: Inherited): string {
  const [from, without] = value?.typeParams?.map(({ repr }) => repr) ?? [];
  return repr === "Omit" ? `\`${from}\` without \`${without}\`` : `\`${repr}\``;
}

/** Returns the default of an option. `deno doc` reads only a default in braces, as if it were a type. */
function defaultOf(jsDoc: JsDoc | undefined): string {
  for (const { kind, value = "" } of jsDoc?.tags ?? []) {
    if (kind === "default") return code(`{${value}}`);
    if (value.startsWith("@default ")) return code(value.slice("@default ".length));
  }
  return "";
}

const code = (value: string): string => {
  const plain = value.trim().replaceAll(/\{@link(?:code)? ([^}]+)\}/g, "$1").replaceAll(/\s+/g, " ");
  return `\`${plain.replaceAll("|", "\\|").replaceAll("`", "")}\``;
};

/** Returns the first paragraph of a comment, with links of doc comments as code. */
function text(doc: string): string {
  return doc.trim().split(/\n\s*\n/, 1)[0]!.replaceAll(/\{@link(?:code)? ([^}]+)\}/g, "`$1`").replaceAll(/\s+/g, " ");
}

const cell = (doc: string): string =>
  doc.trim().replaceAll(/\n\s*\n/g, " ").replaceAll(/\{@link(?:code)? ([^}]+)\}/g, "`$1`").replaceAll(/\s+/g, " ")
    .replaceAll("|", "\\|");

if (import.meta.main) {
  const file = join(root, "docs/options.md");
  writeFileSync(file, await optionsDocument());
  await read(process.execPath, ["fmt", file], { cwd: root });
  console.log(file);
}
