/** The REST of fake portals: authentication, limits, faults and answers. */
import { answerBatch } from "./batch.ts";
import { Refusal, refused } from "./errors.ts";
import { listPage } from "./lists.ts";
import { isGranted, METHODS } from "./methods.ts";
import { checkOperating, timeOf } from "./operating.ts";
import { recordedAnswer, type RecordedCall } from "./recorded_call.ts";
import { type DecodedRequest, type FakeParams, textOf } from "./request.ts";
import {
  applyFault,
  type FakeCall,
  type MethodCall,
  type MethodResult,
  type PortalState,
  type TokenState,
  type UserState,
  type World,
} from "./state.ts";

/** Answers a request to a host. Several portals can have the same host name. */
export async function answerRest(
  world: World,
  portals: readonly PortalState[],
  asked: DecodedRequest,
): Promise<Response> {
  const method = /^\/rest\/(.+?)(?:\.json)?\/?$/.exec(asked.url.pathname)?.[1];
  if (method === undefined) return refused(new Refusal("ERROR_METHOD_NOT_FOUND"));
  const { auth, ...params } = asked.params;
  const token = typeof auth === "string" ? world.accessTokens.get(auth) : undefined;
  const isHere = token !== undefined && portals.includes(token.portal);
  const portal = isHere ? token.portal : portals[0]!;
  const call: RecordedCall = { memberId: portal.memberId, method, at: "portal", params };
  if (isHere) call.userId = token.userId;
  world.calls.push(call);

  const started = world.now();
  const key = method.toLowerCase();
  return await recordedAnswer(call, async () => {
    applyFault(world, "before", { portal, at: "portal", method });
    countRequest(world, portal);
    if (!isKnown(portal, key)) throw new Refusal("ERROR_METHOD_NOT_FOUND");
    if (textOf({ auth }, "auth") === "") throw new Refusal("NO_AUTH_FOUND");
    if (!isHere) throw new Refusal("invalid_token");
    const user = authenticate(world, portal, token);
    checkOperating(portal, key, started);
    const scene: Scene = { world, portal, user, connector: params["auth_connector"] };
    const done = key === "batch"
      ? await answerBatch(params, (name, commandParams) => runCommand(scene, name, commandParams))
      : await runMethod(scene, call);
    applyFault(world, "after", { portal, at: "portal", method });
    return done instanceof Response
      ? done
      : Response.json({ ...done, time: timeOf(portal, key, started, world.now()) });
  });
}

/** @throws {Refusal} if the user of the token has no access */
function authenticate(
  world: World,
  portal: PortalState,
  token: TokenState,
): UserState {
  if (portal.version === undefined) throw new Refusal("NOT_INSTALLED");
  if (token.expiresAt <= world.now()) throw new Refusal("expired_token");
  const user = portal.users.get(token.userId);
  if (!user?.isActive) throw new Refusal("user_access_error");
  if (!portal.isPaid) throw new Refusal("PAYMENT_REQUIRED");
  return user;
}

/** @throws {Refusal} if the request exceeds the limit of the portal */
export function countRequest(world: World, portal: PortalState): void {
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

/** What all commands of a request have in common. */
type Scene = Omit<MethodCall, "params">;

/** Runs an existing method. */
async function runMethod(scene: Scene, call: FakeCall): Promise<MethodResult | Response> {
  const { portal, user } = scene;
  const key = call.method.toLowerCase();
  if (!isGranted(portal, key)) throw new Refusal("insufficient_scope");
  const own = portal.answers.get(key);
  if (own !== undefined) {
    const result = await own(call);
    return result instanceof Response ? result : { result };
  }
  const list = portal.lists.get(key);
  if (list !== undefined) return listPage(list, call.params);
  const method = METHODS.get(key)!;
  if (method.forAdmins && !user.isAdmin) throw new Refusal("ACCESS_DENIED");
  return method.run({ ...scene, params: call.params });
}

/** Runs a command of a batch. */
async function runCommand(
  scene: Scene,
  method: string,
  params: FakeParams,
): Promise<MethodResult & { readonly time: object }> {
  const { world, portal, user } = scene;
  const call: RecordedCall = {
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
    applyFault(world, "before", { portal, at: "portal", method });
    if (!isKnown(portal, method.toLowerCase())) throw new Refusal("ERROR_METHOD_NOT_FOUND");
    checkOperating(portal, method, started);
    const done = await runMethod(scene, call);
    applyFault(world, "after", { portal, at: "portal", method });
    const result = done instanceof Response ? await parseResult(done) : done;
    call.status = 200;
    return { ...result, time: timeOf(portal, method, started, world.now()) };
  } catch (error) {
    if (error instanceof Refusal) Object.assign(call, { status: 200, error: error.code });
    throw error;
  }
}

/** Returns the result in a complete answer, for a batch. */
async function parseResult(response: Response): Promise<MethodResult> {
  const { error, error_description: description, ...answer } = await response.json();
  if (error !== undefined) throw new Refusal(String(error), { description: String(description ?? "") });
  return answer;
}
