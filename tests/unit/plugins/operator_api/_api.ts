/** An operator API with three tokens, and one portal. */
import { createHash } from "node:crypto";
import assert from "node:assert/strict";
import type { AppOptions } from "@b24/onappupdate";
import { operatorApi, type OperatorApiOptions, type OperatorToken } from "@b24/onappupdate/operator";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { operatorDocument } from "../../../../scripts/operator_document.ts";
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

/** The differences from an ordinary call. */
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
    call: async (route, body, init) => {
      const answer = await answerOf(await fetch(requestOf(route, body, init)));
      assertDescribed(route, answer);
      return answer;
    },
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

const DOCUMENT = operatorDocument({ isClosed: true }) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly responses: Record<string, object> }>>>>;
};
const ajv = new Ajv2020({ strict: false }).addSchema(DOCUMENT, "document");
const validators = new Map<string, ValidateFunction>();

/** Fails if the OpenAPI document does not describe the answer. Paths and methods that do not exist are none of its business. */
function assertDescribed(route: string, { status, body }: Answer): void {
  const [method = "", target = ""] = route.split(" ");
  const [pathname] = `/api/v1${target}`.split("?");
  const found = Object.entries(DOCUMENT.paths).find(([path]) =>
    new RegExp(`^${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(pathname!)
  );
  const operation = found?.[1][method.toLowerCase()];
  if (found === undefined || operation === undefined) return;
  assert.ok(`${status}` in operation.responses, `${route}: the document does not have the status ${status}`);
  const path = encodeURIComponent(found[0].replaceAll("/", "~1"));
  const pointer = status < 300
    ? `/paths/${path}/${method.toLowerCase()}/responses/${status}/content/application~1json/schema`
    : "/components/schemas/Error";
  const validate = validators.get(pointer) ?? ajv.compile({ $ref: `document#${pointer}` });
  validators.set(pointer, validate);
  assert.ok(validate(body), `${route}: ${JSON.stringify(validate.errors)} ${JSON.stringify(body)}`);
}
