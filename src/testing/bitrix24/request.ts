/** A request to a fake Bitrix24, decoded as PHP and Bitrix24's REST read it, and redirects as `fetch` follows them. */
import { decodeForm } from "../../bitrix24/form.ts";

/** Parameters, decoded: from a form all texts, from JSON as they were written. */
export type FakeParams = Readonly<Record<string, unknown>>;

/** A request, decoded. */
export interface Asked {
  readonly url: URL;
  readonly params: FakeParams;
  readonly signal: AbortSignal;
}

/** Tests send what events never have. */
const LIMITS = { fields: 100_000, depth: 64, keyLength: 10_000, valueLength: 50_000_000 };

/** Reads the query and the body; of what is in both, the body's counts. */
export async function decodeRequest(request: Request): Promise<Asked> {
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

/** `a[b]=1&c[]=2`, decoded as PHP does. */
export function formParams(text: string): FakeParams {
  // The decoder's maps have no prototype, and assertions compare those.
  return JSON.parse(JSON.stringify(decodeForm(text, LIMITS)));
}

/** Whether `value` is a map. */
export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A parameter as text, whatever the case of its name; empty where it is not there. */
export function textOf(params: FakeParams, name: string): string {
  const value = valueOf(params, name);
  return value === undefined || value === null || typeof value === "object" ? "" : String(value);
}

/** A parameter, whatever the case of its name. */
export function valueOf(params: FakeParams, name: string): unknown {
  const wanted = name.toLowerCase();
  const key = Object.keys(params).find((key) => key.toLowerCase() === wanted);
  return key === undefined ? undefined : params[key];
}

/** A map as PHP writes it: one that is empty, or whose keys are 0, 1, 2 and so on, becomes a list. */
export function phpMap(entries: Iterable<readonly [string, unknown]>): unknown {
  const all = [...entries];
  return all.every(([key], i) => key === String(i)) ? all.map(([, value]) => value) : Object.fromEntries(all);
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** Calls `send`, and does with redirects what `fetch` does: whoever follows them turns a POST into a GET. */
export async function following(request: Request, send: (request: Request) => Promise<Response>): Promise<Response> {
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
