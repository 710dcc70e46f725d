/** REST methods: which ones only read, and what a rehearsal answers to the others. Judged by their names. */

/** Prefix of the methods of REST 3.0, which are at `/rest/api/`. */
const V3_PREFIX = "api/";

const READ = /(^|\.)(get|list|fields|getlist|getfields|current|info|profile|time|scope|methods|events)$/;

/** Methods that only read, although their names do not end like that. */
const OTHER_READS =
  /^(user\.(search|admin|access)|access\.name|crm\.enum\.\w+|crm\.duplicate\.findbycomm|crm\.status\.entity\.(types|items)|disk\.(folder|storage)\.getchildren|disk\.storage\.gettypes|bizproc\.workflow\.instances|calendar\.event\.(getbyid|get\.nearest))$/;

const V3_READ = /(^|[./])(aggregate|count|documentation|openapi|search|tail)$/;

/**
 * Returns whether a REST method only reads, judged by its name: `crm.deal.list`, `profile`, and `api/tasks.task.get` for one
 * of REST 3.0. Any other method may write. Bitrix24 ignores the case of letters.
 *
 * @example
 * ```ts
 * import { isReadMethod } from "@b24/onappupdate";
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(["crm.deal.list", "crm.deal.add", "api/tasks.task.get"].map(isReadMethod), [true, false, true]);
 * ```
 */
export function isReadMethod(method: string): boolean {
  const name = method.toLowerCase();
  // Bitrix24 reads the commands of a batch as URLs: `crm.deal.add#x.list` is `crm.deal.add`.
  if (!/^[\w.]+(\/[\w.]+)*$/.test(name)) return false;
  if (name.startsWith(V3_PREFIX)) return READ.test(name.slice(V3_PREFIX.length)) || V3_READ.test(name);
  // `event.offline.get` removes the events that it returns from the queue.
  return (READ.test(name) && name !== "event.offline.get") || OTHER_READS.test(name);
}

/** The answer to a write that is not sent. */
export interface WriteAnswer {
  readonly result: unknown;
  /** No rule names the method: its answer in a run may have another form. */
  readonly isUnknown?: true;
}

type Params = Readonly<Record<string, unknown>>;

/** Returns the result of a write. `nextId` returns an id that no other write was answered with. */
type AnswerRule = (params: Params, nextId: () => number) => unknown;

const done: AnswerRule = () => true;
const added: AnswerRule = (_params, nextId) => nextId();

/** The added or updated entity under `key`, with the fields that were sent. */
function entity(key: string, idOf: (params: Params, nextId: () => number) => unknown): AnswerRule {
  return (params, nextId) => ({ [key]: { ...fieldsOf(params), id: idOf(params, nextId) } });
}

function fieldsOf(params: Params): object {
  const name = Object.keys(params).find((key) => key.toLowerCase() === "fields");
  return Object(name === undefined ? undefined : params[name]) as object;
}

const newId = (_params: Params, nextId: () => number): number => nextId();
const sameId = ({ id }: Params): unknown => id;

/**
 * The answers to writes: the first rule that matches the name of a method in lower case. Registrations have no id; newer
 * methods answer with the entity.
 */
const ANSWERS: readonly (readonly [methods: RegExp, rule: AnswerRule])[] = [
  [/^(bizproc\.(robot|activity)|messageservice\.sender|userfieldtype|crm\.automation\.trigger|entity)\.add$/, done],
  [/^crm\.item\.add$/, entity("item", newId)],
  [/^crm\.item\.update$/, entity("item", sameId)],
  [/^crm\.type\.add$/, entity("type", newId)],
  [/^tasks\.task\.add$/, entity("task", newId)],
  [/^catalog\.product\.add$/, entity("element", newId)],
  [/^sale\.order\.add$/, entity("order", newId)],
  [/^api\/.*\.add$/, entity("item", newId)],
  [/(^|\.)add$/, added],
  [/(^|\.)(update|set|delete|remove|bind|unbind|register|unregister)$/, done],
];

/** Returns the answer to a write that is not sent. */
export function answerToWrite(method: string, params: Params, nextId: () => number): WriteAnswer {
  const name = method.toLowerCase();
  const rule = ANSWERS.find(([methods]) => methods.test(name))?.[1];
  return rule === undefined ? { result: true, isUnknown: true } : { result: rule(params, nextId) };
}
