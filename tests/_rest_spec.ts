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

const FOLDER = new URL("./fixtures/rest-spec/", import.meta.url);

/** Of methods that the documentation's data lacks; `true`: required. */
const OTHERS: Readonly<Record<string, Readonly<Record<string, boolean>>>> = {
  "event.get": {},
  "placement.get": {},
  "placement.bind": {
    ...{ PLACEMENT: true, HANDLER: true, TITLE: false, DESCRIPTION: false, GROUP_NAME: false, LANG_ALL: false },
    ...{ OPTIONS: false, USER_ID: false, ICON: false },
  },
  "bizproc.robot.list": {},
  "bizproc.activity.list": {},
  "messageservice.sender.list": {},
  "userfieldtype.list": {},
  "imconnector.list": {},
  "crm.automation.trigger.list": {},
};

/** Required where another one says so. */
const IF: Readonly<Record<string, (params: Params) => boolean>> = {
  PLACEMENT_HANDLER: (params) => !("USE_PLACEMENT" in params) && !("ICON" in params) ? false : true,
  // An online event has one.
  handler: ({ event_type: type }) => type !== "offline",
};

/** Words for yes and no, and names by language, are texts on the wire that the documentation types otherwise. */
const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: (value) => typeof value === "string" || (typeof value === "object" && value !== null),
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
  for (const [name, isRequired] of Object.entries(known)) {
    if (isRequired && !(name in params)) throw new Error(`${method}: lacks ${name}`);
  }
  for (const name of Object.keys(params)) {
    if (!(name in known)) throw new Error(`${method}: has ${name}, which is unknown`);
  }
}

function check(where: string, known: readonly Param[], defs: Spec["defs"], params: Params): void {
  for (const { name, required } of known) {
    const isRequired = required && (IF[name]?.(params) ?? true);
    if (isRequired && (params[name] === undefined || params[name] === "")) throw new Error(`${where}: lacks ${name}`);
  }
  for (const [name, value] of Object.entries(params)) {
    const param = known.find((one) => one.name === name);
    if (param === undefined) throw new Error(`${where}: has ${name}, which is unknown`);
    if (TYPES[param.type]?.(value) === false) throw new Error(`${where}: ${name} is no ${param.type}`);
    const fields = param.ref === undefined ? undefined : defs[param.ref.replace("#/defs/", "")]?.fields;
    if (fields !== undefined) check(`${where} ${name}`, fields, defs, value as Params);
  }
}
