/** Decodes requests as PHP and Bitrix24's REST do, and follows redirects as `fetch` does. */
import { decodeForm } from "../../bitrix24/form.ts";

/** Decoded parameters. Those of a form are all strings. */
export type FakeParams = Readonly<Record<string, unknown>>;

/** A decoded request. */
export interface DecodedRequest {
  readonly url: URL;
  readonly params: FakeParams;
  readonly signal: AbortSignal;
}

/** Higher than those of events. */
const LIMITS = { fields: 100_000, depth: 64, keyLength: 10_000, valueLength: 50_000_000 };

/** Decodes the query and the body. Parameters of the body win. */
export async function decodeRequest(request: Request): Promise<DecodedRequest> {
  const url = new URL(request.url);
  const body = request.body === null ? {} : await bodyParams(request);
  return { url, params: { ...formParams(url.search.slice(1)), ...body }, signal: request.signal };
}

async function bodyParams(request: Request): Promise<FakeParams> {
  const type = request.headers.get("content-type") ?? "";
  if (type.startsWith("multipart/form-data")) {
    const fields = new URLSearchParams();
    for (const [name, value] of await request.formData()) if (typeof value === "string") fields.append(name, value);
    return formParams(fields.toString());
  }
  const text = await request.text();
  if (!type.includes("json")) return formParams(text);
  try {
    const parsed: unknown = JSON.parse(text);
    return isMap(parsed) ? parsed : {};
  } catch {
    return {};
  }
}

/** Decodes a form such as `a[b]=1&c[]=2` as PHP does. */
export function formParams(text: string): FakeParams {
  // The maps of the decoder have no prototype, which assertions would compare.
  return JSON.parse(JSON.stringify(decodeForm(text, LIMITS)));
}

/** Returns whether `value` is an object, and not an array. */
export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns a parameter as a string, whatever the case of its name; empty if it is missing. */
export function textOf(params: FakeParams, name: string): string {
  const value = valueOf(params, name);
  return value === undefined || value === null || typeof value === "object" ? "" : String(value);
}

/** Returns a parameter, whatever the case of its name. */
export function valueOf(params: FakeParams, name: string): unknown {
  const wanted = name.toLowerCase();
  const key = Object.keys(params).find((key) => key.toLowerCase() === wanted);
  return key === undefined ? undefined : params[key];
}

/** Returns a map as PHP encodes it: one that is empty, or has the keys 0, 1, 2 and so on, becomes a list. */
export function phpMap(entries: Iterable<readonly [string, unknown]>): unknown {
  const all = [...entries];
  return all.every(([key], i) => key === String(i)) ? all.map(([, value]) => value) : Object.fromEntries(all);
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** Calls `send`, and follows redirects as `fetch` does, which turns a POST into a GET. */
export async function followRedirects(
  request: Request,
  send: (request: Request) => Promise<Response>,
): Promise<Response> {
  let response = await send(request);
  for (let hops = 0; REDIRECTS.has(response.status) && request.redirect !== "manual"; hops++) {
    if (request.redirect === "error") throw new TypeError("fetch failed: unexpected redirect");
    if (hops === 20) throw new TypeError("fetch failed: too many redirects");
    await response.body?.cancel();
    const location = new URL(response.headers.get("location") ?? "", request.url);
    response = await send(new Request(location, { signal: request.signal }));
  }
  return response;
}
