/** REST 3.0 of fake portals: methods at `/rest/api/`, with errors of their own and an `Idempotency-Key`. */
import { Refusal } from "./errors.ts";
import { isGranted } from "./methods.ts";
import { checkOperating, timeOf } from "./operating.ts";
import { type FakeParams, isMap } from "./request.ts";
import { recordedAnswer, type RecordedCall } from "./recorded_call.ts";
import { countRequest } from "./rest.ts";
import { applyFault, type PortalState, type TokenState, type World } from "./state.ts";

/** Bitrix24 keeps the answers of successful calls for this time. */
const ANSWER_MS = 24 * 60 * 60 * 1000;

/** Prefix of the codes of REST 3.0. */
const CODE = "BITRIX_REST_V3_EXCEPTION_";

/** A call that is being answered. */
interface V3Call {
  readonly world: World;
  readonly portal: PortalState;
  /** Recorded with `api/` before its name. */
  readonly call: RecordedCall;
  /** Absent if it is not one of this portal. */
  readonly token: TokenState | undefined;
  /** The body as it was sent. */
  readonly text: string;
  /** Absent if the body is not a JSON object. */
  readonly params: FakeParams | undefined;
}

/** Whether a request is one to REST 3.0. */
export function isV3({ url }: Request): boolean {
  return new URL(url).pathname.startsWith("/rest/api/");
}

/** Answers a request to REST 3.0 of a host. Several portals can have the same host name. */
export async function answerRestV3(
  world: World,
  portals: readonly PortalState[],
  request: Request,
): Promise<Response> {
  const method = new URL(request.url).pathname.replace(/^\/rest\//, "").replace(/\/$/, "");
  const text = await request.text();
  const { auth, ...params } = parsed(text) ?? {};
  const bearer = /^Bearer\s+(.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  const token = world.accessTokens.get(bearer ?? String(auth));
  const isHere = token !== undefined && portals.includes(token.portal);
  const portal = isHere ? token.portal : portals[0]!;
  const call: RecordedCall = { memberId: portal.memberId, method, at: "portal", params };
  if (isHere) call.userId = token.userId;
  const key = request.headers.get("idempotency-key");
  if (key !== null) call.idempotencyKey = key;
  world.calls.push(call);
  const isJson = request.headers.get("content-type")?.includes("json") === true;
  return await recordedAnswer(
    call,
    () =>
      answer({
        ...{ world, portal, call, text },
        token: isHere ? token : undefined,
        params: isJson ? parsed(text) : undefined,
      }),
    ({ code, message, status, more }) => Response.json({ error: { code, message, ...more } }, { status }),
  );
}

function parsed(text: string): FakeParams | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isMap(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

async function answer(asked: V3Call): Promise<Response> {
  const { world, portal, call, text } = asked;
  const { method } = call;
  const started = world.now();
  applyFault(world, "before", { portal, at: "portal", method });
  countRequest(world, portal);
  const run = assertAllowed(asked, started);
  const headers = new Headers({ "content-type": "application/json" });
  if (call.idempotencyKey !== undefined) headers.set("idempotency-key", call.idempotencyKey);
  const stored = storedAnswer(asked, started);
  if (stored !== undefined) {
    call.isReplayed = true;
    headers.set("idempotent-replayed", "true");
    return new Response(stored, { headers });
  }
  const result = await run(call);
  const response = result instanceof Response
    ? result
    : new Response(JSON.stringify({ result, time: timeOf(portal, method, started, world.now()) }), { headers });
  if (call.idempotencyKey !== undefined && response.status === 200) {
    const answered = await response.clone().text();
    portal.idempotentAnswers.set(storageKey(call), { body: text, answer: answered, at: started });
  }
  applyFault(world, "after", { portal, at: "portal", method });
  return response;
}

/**
 * Returns the method of a call.
 *
 * @throws {Refusal} if it may not run
 */
function assertAllowed({ world, portal, call, token, params }: V3Call, now: number): (call: RecordedCall) => unknown {
  const run = portal.answers.get(call.method.toLowerCase());
  if (run === undefined) throw new Refusal(`${CODE}METHODNOTFOUNDEXCEPTION`);
  if (params === undefined) throw new Refusal(`${CODE}INVALIDJSONEXCEPTION`);
  // Whatever is wrong with the token, the code is the same.
  const isActive = token !== undefined && token.expiresAt > world.now() && portal.users.get(token.userId)?.isActive;
  if (!isActive || !portal.isPaid || portal.version === undefined) {
    throw new Refusal(`${CODE}ACCESSDENIEDEXCEPTION`, { status: 401 });
  }
  if (!isGranted(portal, call.method.slice("api/".length))) throw new Refusal(`${CODE}INSUFFICIENTSCOPEEXCEPTION`);
  try {
    checkOperating(portal, call.method, now);
  } catch {
    throw new Refusal(`${CODE}RATELIMITEXCEPTION`);
  }
  return run;
}

/** Returns the answer of an earlier call with the same key. */
function storedAnswer({ portal, call, text }: V3Call, now: number): string | undefined {
  const { idempotencyKey } = call;
  if (idempotencyKey === undefined) return undefined;
  if (!/^[\x20-\x7e]{1,255}$/.test(idempotencyKey)) throw new Refusal(`${CODE}INVALIDIDEMPOTENCYKEYEXCEPTION`);
  const stored = portal.idempotentAnswers.get(storageKey(call));
  if (stored === undefined || stored.at + ANSWER_MS <= now) return undefined;
  if (stored.body !== text) throw new Refusal(`${CODE}IDEMPOTENCYKEYREUSEDEXCEPTION`);
  return stored.answer;
}

function storageKey({ userId, method, idempotencyKey }: RecordedCall): string {
  return JSON.stringify([userId, method.toLowerCase(), idempotencyKey]);
}
