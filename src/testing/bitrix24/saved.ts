/** Saves the portals of a fake Bitrix24 as JSON, and restores them. */
import { createPortal } from "./create_portal.ts";
import type { FakePortal } from "./portal.ts";
import { isMap } from "./request.ts";
import type { Sender } from "./sender.ts";
import type { FakeRateLimit, InstallationState, PortalState, TokenState, UserState, World } from "./state.ts";

/** The portals, their tokens and their former host names. */
export interface SavedWorld {
  readonly format: 1;
  readonly issuedPairs: number;
  readonly portals: readonly SavedPortal[];
  readonly accessTokens: readonly SavedToken[];
  readonly refreshTokens: readonly SavedToken[];
  readonly formerHosts: readonly (readonly [host: string, memberId: string])[];
}

type SavedToken = readonly [token: string, memberId: string, userId: number, expiresAt: number];

/** What is saved of a portal as it is. */
type PlainState = Pick<
  PortalState,
  | "memberId"
  | "domain"
  | "version"
  | "isFinished"
  | "hasWizard"
  | "isPaid"
  | "status"
  | "installations"
  | "rotations"
  | "ts"
  | "registrations"
>;

interface SavedPortal extends PlainState {
  readonly scope: readonly string[];
  readonly users: readonly UserState[];
  readonly installationStates: readonly InstallationState[];
}

/** Returns the state of all portals, without tokens that have expired. */
export function saveWorld(world: World): SavedWorld {
  const tokens = (all: ReadonlyMap<string, TokenState>): SavedToken[] =>
    [...all].filter(([, { expiresAt }]) => expiresAt > world.now())
      .map(([token, { portal, userId, expiresAt }]) => [token, portal.memberId, userId, expiresAt]);
  return {
    format: 1,
    issuedPairs: world.issuedPairs,
    portals: world.portals.map((portal) => ({
      ...pick(portal),
      scope: [...portal.scope],
      users: [...portal.users.values()],
      installationStates: portal.installationStates,
    })),
    accessTokens: tokens(world.accessTokens),
    refreshTokens: tokens(world.refreshTokens),
    formerHosts: [...world.formerHosts].map(([host, { memberId }]) => [host, memberId]),
  };
}

/** Restores saved portals in a fake Bitrix24 that has none, and returns them. */
export function restoreWorld(
  world: World,
  sender: Sender,
  saved: SavedWorld,
  options: { readonly rateLimit?: FakeRateLimit } = {},
): FakePortal[] {
  world.issuedPairs = saved.issuedPairs;
  const states = new Map<string, PortalState>();
  const portals = saved.portals.map((one) => {
    const { memberId, domain, scope, users, installationStates } = one;
    const portal = createPortal(world, sender, { memberId, domain, scope, ...options });
    const state = world.portals.at(-1)!;
    Object.assign(state, pick(one));
    for (const user of users) state.users.set(user.id, user);
    state.installationStates.push(...installationStates);
    states.set(memberId, state);
    return portal;
  });
  for (const kind of ["accessTokens", "refreshTokens"] as const) {
    for (const [token, memberId, userId, expiresAt] of saved[kind]) {
      const portal = states.get(memberId);
      if (portal !== undefined) world[kind].set(token, { portal, userId, expiresAt });
    }
  }
  for (const [host, memberId] of saved.formerHosts) {
    const portal = states.get(memberId);
    if (portal !== undefined) world.formerHosts.set(host, portal);
  }
  return portals;
}

/** Whether `value` is what {@linkcode saveWorld} returns, as far as a mistaken file would differ from it. */
export function isSavedWorld(value: unknown): value is SavedWorld {
  if (!isMap(value) || value["format"] !== 1 || typeof value["issuedPairs"] !== "number") return false;
  const lists = ["portals", "accessTokens", "refreshTokens", "formerHosts"].map((name) => value[name]);
  const [portals] = lists;
  return lists.every(Array.isArray) &&
    (portals as unknown[]).every((portal) =>
      isMap(portal) && ["scope", "users", "installationStates"].every((name) => Array.isArray(portal[name])) &&
      isMap(portal["registrations"])
    );
}

function pick(portal: PlainState): PlainState {
  const { memberId, domain, version, isFinished, hasWizard, isPaid, status } = portal;
  const { installations, rotations, ts, registrations } = portal;
  return {
    ...{ memberId, domain, version, isFinished, hasWizard, isPaid, status },
    ...{ installations, rotations, ts, registrations },
  };
}
