/** Commands of batches, and how they refer to one another. */
import { checkOptions, option, type OptionRules } from "../../mod.ts";
import { assertMethod, isBatch } from "./methods.ts";

/** A method and its parameters. */
export type B24Command =
  | readonly [method: string, params?: object]
  | { readonly method: string; readonly params?: object };

const COMMAND_RULES: OptionRules<{ readonly method: string; readonly params?: object | undefined }> = {
  method: option.required(option.text('the name of a method, such as "crm.deal.list"')),
  params: option.value("an object with parameters", (params) => typeof params === "object" && params !== null),
};

/** A value that Bitrix24 takes from the result of an earlier command of the same batch; see {@linkcode resultOf}. */
export class B24Reference {
  /** Name of the earlier command. */
  readonly command: string;
  /** Keys and indexes that lead to the value in the command's result. */
  readonly path: readonly (string | number)[];

  /** See {@linkcode resultOf}. */
  constructor(command: string, path: readonly (string | number)[]) {
    for (const key of [command, ...path]) {
      if (/^[^\s[\]]+$/.test(String(key))) continue;
      throw new TypeError(`cannot refer to ${JSON.stringify(key)}, wanted a name without spaces and brackets`);
    }
    this.command = command;
    this.path = path;
  }

  /**
   * Refuses to be sent outside of a batch, where there is nothing to refer to.
   *
   * @throws {TypeError} always
   */
  toJSON(): never {
    throw new TypeError(`cannot refer to the result of ${this.command} outside of a batch`);
  }
}

/**
 * Returns a reference to the result of an earlier command of the same batch, for the parameters of a later one. `path`
 * leads to a value in the result. A value that is not there is replaced by what should contain it, or by nothing.
 *
 * @throws {TypeError} if a name or key is empty, or has spaces or brackets
 *
 * @example
 * ```ts
 * import { type B24, resultOf } from "@b24/onappupdate/rest";
 *
 * export async function addDeal(b24: B24, title: string): Promise<number> {
 *   const { deal } = await b24.batch<{ me: { ID: string }; deal: number }>({
 *     me: ["profile"],
 *     deal: ["crm.deal.add", { fields: { TITLE: title, ASSIGNED_BY_ID: resultOf("me", "ID") } }],
 *   });
 *   if (!deal.ok) throw deal.error;
 *   return deal.value;
 * }
 * ```
 */
export function resultOf(command: string, ...path: readonly (string | number)[]): B24Reference {
  return new B24Reference(command, path);
}

/** A command as it is sent. */
export interface Command {
  readonly name: string;
  readonly method: string;
  readonly params: object;
  /** The method and its parameters as a query, which is how Bitrix24 takes commands. */
  readonly query: string;
  /** Names of the commands whose results it uses. */
  readonly refersTo: readonly string[];
  /**
   * Only a request of its own leaves it as it is: a value looks like a reference and is none, or it has `auth_connector`, which
   * Bitrix24 reads from a request, and not from a command of a batch.
   */
  readonly isAlone: boolean;
}

/**
 * Returns a command as it is sent.
 *
 * @throws {TypeError} if it is `batch` or not a method, or has an unknown member
 */
export function encodeCommand(name: string, command: B24Command): Command {
  const named = isTuple(command) ? { method: command[0], params: command[1] } : command;
  checkOptions(`cannot run command ${name}`, named, COMMAND_RULES);
  const { method, params = {} } = named;
  assertMethod(method);
  if (isBatch(method)) throw new TypeError(`cannot call batch in a batch, as command ${name} does`);
  const fields = formFields(params);
  // `encodeURIComponent` throws for half of a surrogate pair, which a string that was cut can end with.
  const encoded = (text: string): string => encodeURIComponent(text.toWellFormed());
  const query = fields.map(({ name, text }) => `${encoded(name)}=${encoded(text)}`).join("&");
  return {
    ...{ name, method, params },
    query: query === "" ? method : `${method}?${query}`,
    refersTo: fields.flatMap(({ reference }) => reference === undefined ? [] : [reference.command]),
    isAlone: fields.some(({ name, text, reference }) =>
      name === "auth_connector" || (reference === undefined && isLikeReference(text))
    ),
  };
}

function isTuple(command: B24Command): command is Extract<B24Command, readonly unknown[]> {
  return Array.isArray(command);
}

/** Whether Bitrix24 may take a string for a reference: `$result[a]`, but also `$next[a]`, `$Total-of[a]` and the like. */
export function isLikeReference(text: string): boolean {
  return /\$[a-z][^ \t\n\v\f\r]*\[/i.test(text);
}

/** A field of a form. */
interface Field {
  /** With the keys of maps and lists in brackets. */
  readonly name: string;
  readonly text: string;
  readonly reference?: B24Reference;
}

/** Returns the fields of a form that holds `value`, with names in PHP's brackets. Values are those that JSON would have. */
function formFields(given: unknown, name?: string): Field[] {
  if (given instanceof B24Reference) {
    const text = `$result${[given.command, ...given.path].map((key) => `[${key}]`).join("")}`;
    return [{ name: name!, text, reference: given }];
  }
  const { toJSON } = Object(given) as { readonly toJSON?: unknown };
  const value: unknown = typeof toJSON === "function" ? toJSON.call(given, name ?? "") : given;
  if (typeof value === "bigint") throw new TypeError("cannot send a BigInt, wanted a number or a string");
  if (value === undefined || typeof value === "function" || typeof value === "symbol") return [];
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([key, inner]) =>
      formFields(inner, name === undefined ? key : `${name}[${key}]`)
    );
  }
  const isNumber = typeof value !== "number" || Number.isFinite(value);
  return [{
    name: name!,
    text: typeof value === "boolean" ? String(Number(value)) : String(isNumber ? value ?? "" : ""),
  }];
}
