/**
 * Checks calls of the REST against Bitrix24's own documentation of their parameters: that all required ones are there, of
 * the right type, and none that is unknown.
 */
import { existsSync, readFileSync } from "node:fs";

interface Param {
  readonly name: string;
  readonly type: string;
  readonly required: boolean;
  /** Where the fields of an object are described. */
  readonly ref?: string;
}

interface Spec {
  readonly params: readonly Param[];
  readonly defs: Readonly<Record<string, { readonly fields: readonly Param[] }>>;
}

const FOLDER = new URL("../fixtures/rest-spec/", import.meta.url);

/** Of methods that the documentation's data lacks. */
const OTHERS: Readonly<Record<string, readonly Param[]>> = {
  "event.get": [],
  "placement.get": [],
  "placement.bind": [
    { name: "PLACEMENT", type: "string", required: true },
    { name: "HANDLER", type: "URL", required: true },
    ...["TITLE", "DESCRIPTION", "GROUP_NAME"].map((name) => ({ name, type: "string", required: false })),
    ...["LANG_ALL", "OPTIONS", "ICON"].map((name) => ({ name, type: "object", required: false })),
    { name: "USER_ID", type: "integer", required: false },
  ],
  "bizproc.robot.list": [],
  "bizproc.activity.list": [],
  "messageservice.sender.list": [],
  "userfieldtype.list": [],
  "imconnector.list": [],
  "crm.automation.trigger.list": [],
};

/** Required where another one says so. */
const IF: Readonly<Record<string, (params: Params) => boolean>> = {
  PLACEMENT_HANDLER: (params) => "USE_PLACEMENT" in params || "ICON" in params,
  // An online event has one.
  handler: ({ event_type: type }) => type !== "offline",
};

/** Texts, for one language or for several: the documentation says so in words. */
const BY_LANGUAGE = /^bizproc\..* (NAME|DESCRIPTION)$/;

/** Yes and no are words on the wire. */
const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: (value) => typeof value === "string",
  URL: (value) => typeof value === "string" && URL.canParse(value),
  integer: Number.isInteger,
  boolean: (value) => typeof value === "boolean" || value === "Y" || value === "N",
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  array: (value) => typeof value === "object" && value !== null,
};

type Params = Readonly<Record<string, unknown>>;

/** @throws {Error} naming the method and what is wrong with its parameters */
export function checkCall(method: string, params: object = {}): void {
  const file = new URL(`${method}.json`, FOLDER);
  if (existsSync(file)) {
    const { params: known, defs } = JSON.parse(readFileSync(file, "utf8")) as Spec;
    return check(method, known, defs, params as Params);
  }
  const known = OTHERS[method];
  if (known === undefined) throw new Error(`${method}: is no method that is known`);
  check(method, known, {}, params as Params);
}

function check(where: string, known: readonly Param[], defs: Spec["defs"], params: Params): void {
  for (const { name, required } of known) {
    const isRequired = required && (IF[name]?.(params) ?? true);
    if (isRequired && (params[name] === undefined || params[name] === "")) throw new Error(`${where}: lacks ${name}`);
  }
  for (const [name, value] of Object.entries(params)) {
    const param = known.find((one) => one.name === name);
    if (param === undefined) throw new Error(`${where}: has ${name}, which is unknown`);
    const isTyped = TYPES[param.type];
    if (isTyped === undefined) throw new Error(`${where}: ${name} is a ${param.type}, which is no known type`);
    const isByLanguage = BY_LANGUAGE.test(`${where} ${name}`) && TYPES["object"]!(value);
    if (!isTyped(value) && !isByLanguage) throw new Error(`${where}: ${name} is no ${param.type}`);
    const fields = param.ref === undefined ? undefined : defs[param.ref.replace("#/defs/", "")]?.fields;
    if (fields !== undefined) check(`${where} ${name}`, fields, defs, value as Params);
  }
}
