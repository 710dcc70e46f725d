/** What the REST methods with which an app registers itself have in common. */
import { missing, Refusal } from "./errors.ts";
import type { FakeParams } from "./request.ts";
import type { FakeRegistration, FakeRegistrations, MethodCall, PortalState, RestMethod } from "./state.ts";

type Kind = keyof FakeRegistrations;
type Run = (call: MethodCall & { readonly given: FakeRegistration }) => unknown;

/** REST methods by name, in lower case. */
export type Methods = readonly (readonly [name: string, method: RestMethod])[];

/** A method for administrators. */
export function admin(run: Run): RestMethod {
  return { ...anybody(run), forAdmins: true };
}

/** A method that any user may call. */
export function anybody(run: Run): RestMethod {
  return { run: (call) => ({ result: run({ ...call, given: upper(call.params) }) }) };
}

/** Names of parameters are the same in every case. */
export function upper(params: FakeParams): FakeRegistration {
  return Object.fromEntries(Object.entries(params).map(([key, value]) => [key.toUpperCase(), value]));
}

/** @throws {Refusal} when one of them is not there, or empty */
export function required(given: FakeRegistration, ...names: readonly string[]): void {
  for (const name of names) if (isEmpty(given[name])) throw missing(name);
}

/** As PHP has it. */
export function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === "" || value === false;
}

/** @throws {Refusal} when it is no address that Bitrix24 could call */
export function handler(given: FakeRegistration, name = "HANDLER"): void {
  required(given, name);
  const address = String(given[name]);
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || !url.hostname.includes(".")) throw new Refusal("ERROR_WRONG_HANDLER_URL");
  if (!/^https?:$/.test(url.protocol)) throw new Refusal("ERROR_UNSUPPORTED_PROTOCOL");
}

/** Registers. */
export function added(portal: PortalState, kind: Kind, given: FakeRegistration): true {
  portal.registrations = { ...portal.registrations, [kind]: [...portal.registrations[kind], given] };
  return true;
}

/** Removes those that fit; how many. */
export function removed(portal: PortalState, kind: Kind, fits: (there: FakeRegistration) => boolean): number {
  const all = portal.registrations[kind];
  const kept = all.filter((there) => !fits(there));
  portal.registrations = { ...portal.registrations, [kind]: kept };
  return all.length - kept.length;
}

/** Changes those that fit; whether there was one. */
export function changed(
  portal: PortalState,
  kind: Kind,
  fits: (there: FakeRegistration) => boolean,
  fields: FakeRegistration,
): boolean {
  const all = portal.registrations[kind];
  if (!all.some(fits)) return false;
  const next = all.map((there) => fits(there) ? { ...there, ...fields } : there);
  portal.registrations = { ...portal.registrations, [kind]: next };
  return true;
}

/** Whether all of `names` are the same, as texts; what is not there is empty, and so is 0. */
export function same(a: FakeRegistration, b: FakeRegistration, ...names: readonly string[]): boolean {
  const text = (value: unknown): string => String(value ?? "").replace(/^0$/, "");
  return names.every((name) => text(a[name]) === text(b[name]));
}
