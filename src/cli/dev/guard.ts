/** Decides which requests a stand-in answers: web pages of others must not reach it through the developer's browser. */
import { timingSafeEqual } from "node:crypto";

/** The conditions that a request must meet. */
export interface GuardOptions {
  /** The port that the stand-in listens on. */
  readonly port: number;
  /** Addresses beyond this machine are served: then the path begins with this random token, and any host may be named. */
  readonly token?: string | undefined;
}

/** The parts of a request that decide. */
export interface GuardedRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** The path without the token; or the status and the text of a refusal. */
export type Guarded = { readonly path: string } | { readonly status: 403 | 404; readonly reason: string };

/**
 * Returns the path of a request that may be answered. A name that an attacker points at this machine (DNS rebinding) is
 * refused by its Host header, and a page of another origin by its Origin header.
 */
export function guard({ method, url, headers }: GuardedRequest, { port, token }: GuardOptions): Guarded {
  const host = single(headers["host"]);
  if (host === undefined) return { status: 403, reason: "the request has no Host header" };
  if (token === undefined && !LOOPBACK.some((name) => host === `${name}:${port}` || port === 80 && host === name)) {
    return { status: 403, reason: `the stand-in is http://127.0.0.1:${port}, and answers by no other name` };
  }
  const origin = headers["origin"];
  if (origin !== undefined && origin !== `http://${host}`) {
    return { status: 403, reason: "requests of pages of other origins are refused" };
  }
  const site = headers["sec-fetch-site"];
  if (method !== "GET" && origin === undefined && site !== undefined && site !== "same-origin") {
    return { status: 403, reason: "requests of pages of other origins are refused" };
  }
  const path = url.startsWith("/") ? url : `/${url}`;
  if (token === undefined) return { path };
  const [, given = "", rest = "/"] = /^\/([^/?#]*)(\/[^]*)?$/.exec(path.replace(/\?.*$/, "")) ?? [];
  return isEqual(given, token) ? { path: rest } : { status: 404, reason: "not found" };
}

const LOOPBACK = ["127.0.0.1", "localhost", "[::1]"];

function single(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === "string" ? header.toLowerCase() : undefined;
}

function isEqual(a: string, b: string): boolean {
  const [left, right] = [new TextEncoder().encode(a), new TextEncoder().encode(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
