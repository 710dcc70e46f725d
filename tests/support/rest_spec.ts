/**
 * Checks the parameters of REST calls against Bitrix24's documentation: required ones are present, types are right, and
 * none is unknown.
 */
import { existsSync, readFileSync } from "node:fs";

interface Param {
  readonly name: string;
  readonly type: string;
  readonly required: boolean;
  /** Reference to the fields of an object. */
  readonly ref?: string;
}

interface Spec {
  readonly params: readonly Param[];
  readonly defs: Readonly<Record<string, { readonly fields: readonly Param[] }>>;
}

const FOLDER = new URL("../fixtures/rest-spec/", import.meta.url);

/** Parameters of methods that the documentation's data lacks. */
const UNDOCUMENTED: Readonly<Record<string, readonly Param[]>> = {
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

/** Parameters that only the code of Bitrix24 shows: it reads the source from every request with a token. */
const SOURCE: Param = { name: "auth_connector", type: "string", required: false };

/** Conditions on other parameters under which a required parameter is required. */
const REQUIRED_IF: Readonly<Record<string, (params: Params) => boolean>> = {
  PLACEMENT_HANDLER: (params) => "USE_PLACEMENT" in params || "ICON" in params,
  // Only online events have a handler.
  handler: ({ event_type: type }) => type !== "offline",
};

/** Strings that may also be an object with one string per language, which only the prose of the documentation says. */
const BY_LANGUAGE = /^bizproc\..* (NAME|DESCRIPTION)$/;

/** Checks by type. Booleans may be Y and N on the wire. */
const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: (value) => typeof value === "string",
  URL: (value) => typeof value === "string" && URL.canParse(value),
  integer: Number.isInteger,
  boolean: (value) => typeof value === "boolean" || value === "Y" || value === "N",
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  array: (value) => typeof value === "object" && value !== null,
};

type Params = Readonly<Record<string, unknown>>;

/** @throws {Error} if the method is unknown or one of its parameters is missing, unknown or of the wrong type */
export function checkCall(method: string, params: object = {}): void {
  const file = new URL(`${method}.json`, FOLDER);
  if (existsSync(file)) {
    const { params: known, defs } = JSON.parse(readFileSync(file, "utf8")) as Spec;
    return check(method, method === "event.unbind" ? [...known, SOURCE] : known, defs, params as Params);
  }
  const known = UNDOCUMENTED[method];
  if (known === undefined) throw new Error(`unknown method ${method}`);
  check(method, known, {}, params as Params);
}

function check(where: string, known: readonly Param[], defs: Spec["defs"], params: Params): void {
  for (const { name, required } of known) {
    const isRequired = required && (REQUIRED_IF[name]?.(params) ?? true);
    if (isRequired && (params[name] === undefined || params[name] === "")) {
      throw new Error(`${where}: ${name} is missing`);
    }
  }
  for (const [name, value] of Object.entries(params)) {
    const param = known.find((param) => param.name === name);
    if (param === undefined) throw new Error(`${where}: ${name} is unknown`);
    const isTyped = TYPES[param.type];
    if (isTyped === undefined) throw new Error(`${where}: ${name} has the unknown type ${param.type}`);
    const isByLanguage = BY_LANGUAGE.test(`${where} ${name}`) && TYPES["object"]!(value);
    if (!isTyped(value) && !isByLanguage) throw new Error(`${where}: ${name} is not of the type ${param.type}`);
    const fields = param.ref === undefined ? undefined : defs[param.ref.replace("#/defs/", "")]?.fields;
    if (fields !== undefined) check(`${where} ${name}`, fields, defs, value as Params);
  }
}
