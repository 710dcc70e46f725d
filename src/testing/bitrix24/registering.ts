/** Shared by the REST methods that register something. */
import { missing, Refusal } from "./errors.ts";
import type { FakeParams } from "./request.ts";
import type { FakeRegistration, FakeRegistrations, MethodCall, PortalState, RestMethod } from "./state.ts";

type Kind = keyof FakeRegistrations;
type Run = (call: MethodCall & { readonly given: FakeRegistration }) => unknown;

/** REST methods by name, in lower case. */
export type Methods = readonly (readonly [name: string, method: RestMethod])[];

/** Returns a method that only administrators may call. */
export function adminMethod(run: Run): RestMethod {
  return { ...userMethod(run), forAdmins: true };
}

/** Returns a method that any user may call. */
export function userMethod(run: Run): RestMethod {
  return { run: (call) => ({ result: run({ ...call, given: withUpperCaseKeys(call.params) }) }) };
}

/** Returns the parameters with names in upper case: Bitrix24 ignores their case. */
export function withUpperCaseKeys(params: FakeParams): FakeRegistration {
  return Object.fromEntries(Object.entries(params).map(([key, value]) => [key.toUpperCase(), value]));
}

/** @throws {Refusal} if one of the fields is missing or empty */
export function requireFields(given: FakeRegistration, ...names: readonly string[]): void {
  for (const name of names) if (isEmpty(given[name])) throw missing(name);
}

/** Returns whether a parameter counts as empty in PHP. */
export function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === "" || value === false;
}

/** @throws {Refusal} if the field is not a URL that Bitrix24 can call */
export function requireHandler(given: FakeRegistration, name = "HANDLER"): void {
  requireFields(given, name);
  const address = String(given[name]);
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || !url.hostname.includes(".")) throw new Refusal("ERROR_WRONG_HANDLER_URL");
  if (!/^https?:$/.test(url.protocol)) throw new Refusal("ERROR_UNSUPPORTED_PROTOCOL");
}

/** Adds a registration. */
export function addRegistration(portal: PortalState, kind: Kind, given: FakeRegistration): true {
  portal.registrations = { ...portal.registrations, [kind]: [...portal.registrations[kind], given] };
  return true;
}

/** Removes the registrations that fit, and returns their number. */
export function removeRegistrations(
  portal: PortalState,
  kind: Kind,
  fits: (registration: FakeRegistration) => boolean,
): number {
  const all = portal.registrations[kind];
  const kept = all.filter((registration) => !fits(registration));
  portal.registrations = { ...portal.registrations, [kind]: kept };
  return all.length - kept.length;
}

/** Changes the registrations that fit, and returns whether there was one. */
export function updateRegistrations(
  portal: PortalState,
  kind: Kind,
  fits: (registration: FakeRegistration) => boolean,
  fields: FakeRegistration,
): boolean {
  const all = portal.registrations[kind];
  if (!all.some(fits)) return false;
  const next = all.map((registration) => fits(registration) ? { ...registration, ...fields } : registration);
  portal.registrations = { ...portal.registrations, [kind]: next };
  return true;
}

/** Returns whether all fields in `names` are equal as strings. Missing fields and 0 count as empty. */
export function haveSame(a: FakeRegistration, b: FakeRegistration, ...names: readonly string[]): boolean {
  const text = (value: unknown): string => String(value ?? "").replace(/^0$/, "");
  return names.every((name) => text(a[name]) === text(b[name]));
}
