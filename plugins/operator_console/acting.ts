/**
 * Actions. Pages link to `/act/<action>?portal=…&back=…`: that page says what is going to be done, asks for what is missing and
 * for a reason, and sends it all as one form. All of it works without JavaScript.
 */
import { ApiError, invalid, refusalOf } from "../operator_api/api_error.ts";
import type { Operator, Route } from "../operator_api/route.ts";
import type { ObjectSchema, Schema } from "../operator_api/schema.ts";
import { type Action, type ActionId, ACTIONS, isActionId } from "./actions.ts";
import { type ActionForm, actionForm, type ActionProblem, nameOf } from "./action_form.ts";
import type { Answers, Call, CallInput } from "./calls.ts";
import type { Cookies } from "./cookies.ts";
import { flashHeader } from "./flash.ts";
import { pathIn, readForm } from "./form.ts";
import type { PageContext } from "./page.ts";
import { resultOf } from "./results.ts";
import { silencedUntil } from "./silences.ts";
import type { Views } from "./views.ts";
import type { Visit } from "./visit.ts";

/** Answers the addresses of actions. */
export interface Acting {
  /** Returns the page or the result of an action; `undefined` for other addresses. */
  readonly answer: (visit: Visit, operator: Operator, call: Call) => Promise<Response | undefined>;
}

/** Parts of {@linkcode createActing}. */
export interface ActingParts {
  readonly routes: readonly Route[];
  readonly views: Views;
  readonly cookies: Cookies;
  readonly formBytes: number;
}

/** Path of the pages of actions. */
export const ACT_PATH = "/act";

/** Fields that are no parameters of the route. */
const OWN_FIELDS: ReadonlySet<string> = new Set(["back", "reason", "expect"]);

/** Returns what answers the addresses of actions. */
export function createActing({ routes, views, cookies, formBytes }: ActingParts): Acting {
  const routeOf = (id: ActionId): Route => routes.find((route) => route.id === id)!;

  async function ask(
    visit: Visit,
    ctx: PageContext,
    call: Call,
    form: ActionForm,
    problem?: ActionProblem,
  ): Promise<Response> {
    const { portal } = form.fields;
    const stored = portal === undefined ? undefined : await call("getPortal", { portal });
    const matched = form.id === "startBatch"
      ? (await call("countMatching", { query: partOf(form.fields, "match.") })).matched
      : undefined;
    return await views.answer(visit, ctx, {
      title: nameOf(ctx, { ...form, matched }),
      content: actionForm(ctx, { ...form, stored, matched, problem }),
      ...(problem !== undefined && { status: problem.status }),
    });
  }

  async function act(visit: Visit, ctx: PageContext, call: Call, form: ActionForm): Promise<Response> {
    const { id, route, fields, reason, back } = form;
    const action: Action = ACTIONS[id];
    try {
      const answer = await call(id, inputOf(form, ctx.now));
      if (action.done === undefined) {
        const title = ctx.t(action.name);
        return await views.answer(visit, ctx, { title, content: resultOf(ctx, id, answer, form) });
      }
      const values = valuesOf(id, answer);
      return views.redirect(back, { "set-cookie": flashHeader(cookies, { key: action.done, values }) });
    } catch (error) {
      const refusal = refusalOf(error);
      // Problems of the whole request, or of the storage, have a page of their own.
      if (refusal === undefined || ![400, 409, 502].includes(refusal.status)) throw error;
      const { status, body } = refusal;
      return await ask(visit, ctx, call, { id, route, fields, reason, back }, { status, ...body });
    }
  }

  return {
    answer: async (visit, operator, call) => {
      const [, id = ""] = /^\/act\/(\w+)$/.exec(visit.path) ?? [];
      if (!isActionId(id)) return undefined;
      const ctx = views.contextOf(visit, {}, operator);
      const isPost = visit.request.method === "POST";
      const sent = isPost ? Object.fromEntries(await readForm(visit.request, formBytes)) : visit.query;
      const form = formOf(id, routeOf(id), sent);
      if (isPost) return await act({ ...visit, here: withQuery(visit.path, form) }, ctx, call, form);
      // The page would only end in a refusal.
      if (!ctx.canOperate) throw new ApiError(403, { code: "forbidden", message: ctx.t("frame.role.read") });
      return await ask(visit, ctx, call, form);
    },
  };
}

/** Returns the form of what was sent. @throws {ApiError} 400, if it has a field that does not exist */
function formOf(id: ActionId, route: Route, sent: Readonly<Record<string, string>>): ActionForm {
  const known = new Set([...pathFields(route), ...bodyFields(route.body, ""), ...OWN_FIELDS]);
  const filled = Object.entries(withLists(route.body, sent)).filter(([, value]) => value !== "");
  const unknown = filled.find(([name]) => !known.has(name));
  if (unknown !== undefined) {
    const saw = "a field that does not exist";
    throw invalid([{ path: unknown[0].slice(0, 60), saw, wanted: `only ${[...known].join(", ")}` }]);
  }
  const { back, reason = "", expect, ...fields } = Object.fromEntries(filled);
  return { id, route, fields, reason, back: pathIn(back), ...(expect !== undefined && { expect }) };
}

/** Returns the names in braces of the path of a route. */
function pathFields({ path }: Route): string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
}

/** Returns the names of the fields of a form: those of an object in the body have its name before theirs. */
function bodyFields({ properties }: ObjectSchema, prefix: string): string[] {
  return Object.entries<Schema>(properties).flatMap(([name, schema]) =>
    "properties" in schema ? bodyFields(schema, `${prefix}${name}.`) : [name === "until" ? "lasts" : `${prefix}${name}`]
  );
}

/** Returns what was sent with lists as one text each, as links have them: `kinds.a=true&kinds.b=true` is `kinds=a,b`. */
function withLists(
  { properties }: ObjectSchema,
  sent: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const lists = Object.keys(properties).filter((name) => properties[name]!.type === "array");
  const listOf = (field: string): string | undefined => lists.find((name) => field.startsWith(`${name}.`));
  const joined = new Map<string, string>();
  for (const [field, value] of Object.entries(sent)) {
    const list = value === "true" ? listOf(field) : undefined;
    if (list === undefined) joined.set(field, value);
    else joined.set(list, [joined.get(list), field.slice(list.length + 1)].filter(Boolean).join());
  }
  return Object.fromEntries(joined);
}

/** Returns the parameters of a call. Its schema checks them. */
function inputOf({ route, fields, reason, expect }: ActionForm, now: number): CallInput {
  const until = silencedUntil(fields.lasts, now);
  const sent = {
    ...fields,
    ...(reason !== "" && { reason }),
    ...(expect !== undefined && { expect }),
    ...(until !== undefined && { until: `${until}` }),
  };
  const ofPath = Object.fromEntries(pathFields(route).map((name) => [name, fields[name] ?? ""]));
  return { ...ofPath, body: valueOf(route.body, sent, "") };
}

function valueOf(
  { properties }: ObjectSchema,
  sent: Readonly<Record<string, string>>,
  prefix: string,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries<Schema>(properties).flatMap(([name, schema]): [string, unknown][] => {
      if ("properties" in schema) return [[name, valueOf(schema, sent, `${prefix}${name}.`)]];
      const text = sent[`${prefix}${name}`];
      if (text === undefined) return [];
      if (schema.type === "integer" && /^\d{1,15}$/.test(text)) return [[name, Number(text)]];
      if (schema.type === "array") return [[name, text.split(",")]];
      if (schema.type === "boolean" && /^(true|false)$/.test(text)) return [[name, text === "true"]];
      return [[name, text]];
    }),
  );
}

/** Returns the fields whose names begin like this, without it. */
function partOf(fields: Readonly<Record<string, string>>, prefix: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(fields).filter(([name]) => name.startsWith(prefix)).map(([name, value]) => [
      name.slice(prefix.length),
      value,
    ]),
  );
}

function withQuery(path: string, { fields, back }: ActionForm): string {
  return `${path}?${new URLSearchParams({ ...fields, back })}`;
}

/** Returns the values of what is reported. */
function valuesOf(id: ActionId, answer: unknown): Readonly<Record<string, number>> {
  if (id === "startBatch") return { count: (answer as Answers["startBatch"]).matched };
  return id === "retryOutbox" ? { count: (answer as Answers["retryOutbox"]).count } : {};
}
