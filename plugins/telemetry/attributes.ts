/** Names and values of attributes. */
import type { Attributes, AttributeValue } from "@opentelemetry/api";
import { B24Error } from "../../mod.ts";
import { OnAppUpdateError } from "../../errors.ts";

/** Returns the attributes that are not `undefined`. */
export function attributesOf(members: Readonly<Record<string, AttributeValue | undefined>>): Attributes {
  const attributes: Attributes = {};
  for (const [name, value] of Object.entries(members)) if (value !== undefined) attributes[name] = value;
  return attributes;
}

/** Returns `error.type`: the code of an error of this package; `other` for any other error, whose names may be many. */
export function errorType(error: Error | undefined): string | undefined {
  if (error === undefined) return undefined;
  return error instanceof OnAppUpdateError ? error.code : "other";
}

/** Returns `error.type` of an answer: its status, as the conventions of HTTP want it. */
export function statusType(status: number | undefined, lowest: number): string | undefined {
  return status !== undefined && status >= lowest ? String(status) : undefined;
}

/** Returns the error code of Bitrix24. */
export function b24CodeOf(error: Error | undefined): string | undefined {
  return error instanceof B24Error ? error.b24Code : undefined;
}

const METHODS: ReadonlySet<string> = new Set(
  ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"],
);

/** Returns `http.request.method`. Anybody can send made-up methods. */
export function methodOf(method: string): string {
  return METHODS.has(method) ? method : "_OTHER";
}

const EVENTS: ReadonlySet<string> = new Set([
  ...["ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUNINSTALL", "ONAPPPAYMENT", "ONAPPMETHODCONFIRM", "ONAPPUSERREADY"],
  "ONAPPTEST",
]);

/** Returns the name of an event on metrics. Anybody can send made-up events. */
export function eventOf(name: string): string {
  return EVENTS.has(name) ? name : "other";
}
