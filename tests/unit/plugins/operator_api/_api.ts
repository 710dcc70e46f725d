/** An operator API with three tokens, and one portal. */
import { createHash } from "node:crypto";
import type { AppOptions } from "@b24/onappupdate";
import { operatorApi, type OperatorApiOptions, type OperatorToken } from "@b24/onappupdate/operator";
import { recordingLogger, type Rig, rig } from "../../../support/app.ts";

export const READ = "r".repeat(43);
export const OPERATE = "o".repeat(43);

/** Returns the configuration of a token. */
export function tokenOf(name: string, token: string, role: OperatorToken["role"]): OperatorToken {
  return { name, sha256: createHash("sha256").update(token).digest("hex"), role };
}

export const TOKENS: readonly OperatorToken[] = [tokenOf("viewer", READ, "read"), tokenOf("ada", OPERATE, "operate")];

/** An answer of the API. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Awaited<ReturnType<Response["json"]>>;
}

export interface ApiRig extends Rig {
  /** Lines of the API, not of the app. */
  readonly apiLines: string[];
  readonly fetch: (request: Request) => Promise<Response>;
  /** Sends a request with the token of `ada`, who may operate. A body is sent as JSON. */
  readonly call: (route: string, body?: unknown, init?: CallInit) => Promise<Answer>;
}

/** What differs from an ordinary call. */
export interface CallInit {
  /** `null` for none. */
  readonly token?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Returns a rig with an operator API. `route` of `call` is a method and a path below `/api/v1`. */
export function apiRig(options: Partial<AppOptions> = {}, api: Partial<OperatorApiOptions> = {}): ApiRig {
  const app = rig(options);
  const { logger, lines } = recordingLogger();
  const { fetch } = operatorApi({ app: app.app, tokens: TOKENS, logger, ...api });
  return {
    ...app,
    apiLines: lines,
    fetch,
    call: async (route, body, init) => await answerOf(await fetch(requestOf(route, body, init))),
  };
}

/** Returns a request of the API. */
export function requestOf(route: string, body?: unknown, { token = OPERATE, headers = {} }: CallInit = {}): Request {
  const [method = "", path = ""] = route.split(" ");
  return new Request(`https://ops.example/api/v1${path}`, {
    method,
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
    headers: {
      ...(token !== null && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "content-type": "application/json" }),
      ...headers,
    },
  });
}

/** Reads an answer. */
export async function answerOf(response: Response): Promise<Answer> {
  return { status: response.status, headers: response.headers, body: await response.json() };
}
