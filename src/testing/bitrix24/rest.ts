/** The REST of fake portals: who calls, whether he may, what goes wrong, and the answer. */
import { answerBatch } from "./batch.ts";
import { Refusal, refused } from "./errors.ts";
import { listed } from "./lists.ts";
import { isGranted, isoTime, METHODS } from "./methods.ts";
import { type Asked, type FakeParams, textOf } from "./request.ts";
import { type FakeCall, type MethodResult, type PortalState, strike, type UserState, type World } from "./state.ts";

/** A call while it is answered. */
type Recorded = { -readonly [Key in keyof FakeCall]: FakeCall[Key] };

/** Answers a request for the host that `portals` have. */
export async function answerRest(world: World, portals: readonly PortalState[], asked: Asked): Promise<Response> {
  const method = /^\/rest\/(.+?)(?:\.json)?\/?$/.exec(asked.url.pathname)?.[1];
  if (method === undefined) return refused(new Refusal("ERROR_METHOD_NOT_FOUND"));
  const { auth, ...params } = asked.params;
  const token = typeof auth === "string" ? world.accessTokens.get(auth) : undefined;
  const isHere = token !== undefined && portals.includes(token.portal);
  const portal = isHere ? token.portal : portals[0]!;
  const call: Recorded = { memberId: portal.memberId, method, at: "portal", params };
  if (isHere) call.userId = token.userId;
  world.calls.push(call);

  const started = world.now();
  const key = method.toLowerCase();
  const answer = async (): Promise<Response> => {
    strike(world, "before", { portal, at: "portal", method });
    takePlace(world, portal);
    if (!isKnown(portal, key)) throw new Refusal("ERROR_METHOD_NOT_FOUND");
    if (textOf({ auth }, "auth") === "") throw new Refusal("NO_AUTH_FOUND");
    if (!isHere) throw new Refusal("invalid_token");
    const user = enter(world, portal, token);
    const done = key === "batch"
      ? await answerBatch(params, (name, commandParams) => command(world, portal, user, name, commandParams))
      : await run(world, portal, user, call);
    strike(world, "after", { portal, at: "portal", method });
    return done instanceof Response ? done : Response.json({ ...done, time: timeOf(world, started) });
  };
  try {
    const response = await answer();
    call.status = response.status;
    return response;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    Object.assign(call, { status: error.status, error: error.code });
    return refused(error);
  }
}

/** Lets a token in, or says why not. */
function enter(world: World, portal: PortalState, token: { readonly userId: number; endsAt: number }): UserState {
  if (portal.version === undefined) throw new Refusal("NOT_INSTALLED");
  if (token.endsAt <= world.now()) throw new Refusal("expired_token");
  const user = portal.users.get(token.userId);
  if (!user?.isActive) throw new Refusal("user_access_error");
  if (!portal.isPaid) throw new Refusal("PAYMENT_REQUIRED");
  return user;
}

/** The bucket of the portal, which empties all the time. */
function takePlace(world: World, portal: PortalState): void {
  if (portal.rateLimit === undefined) return;
  const { perSecond, bucket } = portal.rateLimit;
  const at = world.now();
  const level = Math.max(0, portal.bucket.level - (at - portal.bucket.at) / 1000 * perSecond);
  const isFull = level + 1 > bucket;
  portal.bucket = { level: isFull ? level : level + 1, at };
  if (isFull) throw new Refusal("QUERY_LIMIT_EXCEEDED");
}

function isKnown(portal: PortalState, key: string): boolean {
  return key === "batch" || portal.answers.has(key) || portal.lists.has(key) || METHODS.has(key);
}

/** One method that is known. */
async function run(
  world: World,
  portal: PortalState,
  user: UserState,
  call: FakeCall,
): Promise<MethodResult | Response> {
  const key = call.method.toLowerCase();
  if (!isGranted(portal, key)) throw new Refusal("insufficient_scope");
  const own = portal.answers.get(key);
  if (own !== undefined) {
    const result = await own(call);
    return result instanceof Response ? result : { result };
  }
  const list = portal.lists.get(key);
  if (list !== undefined) return listed(list, call.params);
  const method = METHODS.get(key)!;
  if (method.forAdmins && !user.isAdmin) throw new Refusal("ACCESS_DENIED");
  return method.run({ world, portal, user, params: call.params });
}

/** One command of a batch. */
async function command(
  world: World,
  portal: PortalState,
  user: UserState,
  method: string,
  params: FakeParams,
): Promise<MethodResult & { readonly time: object }> {
  const call: Recorded = {
    memberId: portal.memberId,
    method,
    at: "portal",
    params,
    userId: user.id,
    isInBatch: true,
  };
  world.calls.push(call);
  const started = world.now();
  try {
    strike(world, "before", { portal, at: "portal", method });
    if (!isKnown(portal, method.toLowerCase())) throw new Refusal("ERROR_METHOD_NOT_FOUND");
    const done = await run(world, portal, user, call);
    strike(world, "after", { portal, at: "portal", method });
    const known = done instanceof Response ? await resultOf(done) : done;
    call.status = 200;
    return { ...known, time: timeOf(world, started) };
  } catch (error) {
    if (error instanceof Refusal) Object.assign(call, { status: 200, error: error.code });
    throw error;
  }
}

/** What a whole answer is in a batch. */
async function resultOf(response: Response): Promise<MethodResult> {
  const { error, error_description: description, ...answer } = await response.json();
  if (error !== undefined) throw new Refusal(String(error), { description: String(description ?? "") });
  return answer;
}

/** How long it took, and when the limit of operating time ends: ten minutes after the call. */
function timeOf(world: World, started: number): object {
  const finished = world.now();
  return {
    start: started / 1000,
    finish: finished / 1000,
    duration: (finished - started) / 1000,
    processing: 0,
    date_start: isoTime(started),
    date_finish: isoTime(finished),
    operating_reset_at: Math.floor(started / 1000) + 600,
    operating: 0,
  };
}
