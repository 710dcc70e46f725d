/** Bodies that a framework has read before the app: encoded again as they were sent, as far as the framework has kept them. */
import type { IncomingMessage } from "node:http";

/** A body as a framework has kept it. */
export interface KeptBody {
  /** The parsed body, or its bytes or text. */
  readonly body?: unknown;
  /** The bytes or text of the body as it was sent. Preferred to `body`. */
  readonly rawBody?: unknown;
}

/** The body of a request: `stream` is unread; `kept` is its text or bytes; `lost` was read, and nothing of it is known. */
export type FoundBody =
  | { readonly state: "stream" | "lost" }
  | { readonly state: "kept"; readonly content: string | Uint8Array<ArrayBuffer> };

const LOST: FoundBody = { state: "lost" };

/** Returns the body of a request. */
export function findBody(incoming: IncomingMessage, { body, rawBody }: KeptBody): FoundBody {
  if (incoming.method === "GET" || incoming.method === "HEAD" || !incoming.readableDidRead) return { state: "stream" };
  for (const kept of [rawBody, body]) {
    if (typeof kept === "string") return { state: "kept", content: kept };
    // A copy: bytes of Node are a part of a buffer that it uses again.
    if (kept instanceof Uint8Array) return { state: "kept", content: new Uint8Array(kept) };
  }
  const { "content-length": length, "transfer-encoding": coding, "content-type": type = "" } = incoming.headers;
  if (length === "0" || (length === undefined && coding === undefined)) return { state: "kept", content: "" };
  if (typeof body !== "object" || body === null) return LOST;
  const media = type.split(";")[0]!.trim().toLowerCase();
  if (isPlaceholder(body, media, Number(length))) return LOST;
  if (/^application\/([\w.-]+\+)?json$/.test(media)) return { state: "kept", content: JSON.stringify(body) };
  return media === "application/x-www-form-urlencoded" ? { state: "kept", content: encodeForm(body) } : LOST;
}

/** The longest body that is an empty object, with room for spaces. */
const EMPTY_OBJECT_BYTES = 8;

/** Returns whether a body is the empty object that parsers set even if they have parsed nothing. */
function isPlaceholder(body: object, media: string, length: number): boolean {
  if (Array.isArray(body) || Object.keys(body).length > 0) return false;
  return !(media.endsWith("json") && length <= EMPTY_OBJECT_BYTES);
}

/** Encodes what a parser has made of a form, with nested values or with names such as `data[VERSION]`. */
export function encodeForm(form: object): string {
  const fields: string[] = [];
  const add = (name: string, value: string): void =>
    void fields.push(`${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
  for (const [name, value] of Object.entries(form)) {
    // A parser that does not nest keeps the values of a repeated name in a list.
    if (name.includes("[") && Array.isArray(value)) value.forEach((one) => add(name, String(one)));
    else addField(name, value, add);
  }
  return fields.join("&");
}

function addField(name: string, value: unknown, add: (name: string, value: string) => void): void {
  if (typeof value !== "object" || value === null) return add(name, value === null ? "" : String(value));
  for (const [key, member] of Object.entries(value)) {
    // Below its maximum depth, qs keeps the rest of a name as it is, in its brackets.
    addField(key.startsWith("[") ? name + key : `${name}[${key}]`, member, add);
  }
}
