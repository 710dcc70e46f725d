/** Actions of the vendor's code and operators in a random life. */
import type { AdoptionLine, App, PortalToAdopt } from "@b24/onappupdate";
import { MEMBER_ID } from "../support/app.ts";
import { OPERATOR } from "../support/operator.ts";
import { DAY, HOUR, LATEST, MINUTE, USER, type World } from "./_world.ts";

/** Another program of the vendor has the portal too: an operator adopts it from there, with what that program knows. */
export async function adopt(world: World, { admin }: App): Promise<void> {
  const { portal, truth, pick, random, log } = world;
  const { accessToken, refreshToken } = portal.tokens(pick([1, 1, USER]));
  const token = new URLSearchParams(portal.forge("ONAPPTEST")).get("auth[application_token]")!;
  const row: PortalToAdopt = {
    ...{ memberId: MEMBER_ID, accessToken },
    ...random() < 0.8 && { refreshToken },
    ...random() < 0.5 && { applicationToken: token },
    ...random() < 0.8 && { version: truth.version },
  };
  const onLine = ({ outcome, message = "" }: AdoptionLine): void => void log.push(`    ${outcome} ${message}`);
  await admin.adopt([row], { ...OPERATOR, onLine, dryRun: random() < 0.2, refresh: random() < 0.5 });
}

/** An operator says on which version the data of the portal is. */
export async function setVersion({ truth }: World, { admin }: App): Promise<void> {
  await admin.setInitialVersion(MEMBER_ID, String(Math.max(1, truth.version)), OPERATOR);
}

/** Code of the vendor uses the credentials of the portal, and now and then the portal refuses its access token. */
export async function useCredentials({ random, violations }: World, { credentials }: App): Promise<void> {
  let used = await credentials.get(MEMBER_ID);
  if (random() < 0.5) used = await credentials.refresh(MEMBER_ID, used);
  if (!used.accessToken.reveal().includes(MEMBER_ID)) violations.push("credentials of another portal");
}

export async function rehearse(app: App): Promise<void> {
  await app.rehearse(MEMBER_ID);
}

/** An operator silences notifications, and ends an earlier silence. */
export async function silence({ pick, time, violations }: World, { admin: { silences } }: App): Promise<void> {
  const until = time.now() + pick([10 * MINUTE, HOUR, 9 * DAY]);
  const { id } = await silences.add({ kinds: [pick(["portal_parked", "portal_upgraded"])], until, ...OPERATOR });
  const all = await silences.list();
  if (!all.some((one) => one.id === id)) violations.push("a silence is not listed");
  if (all.length > 2) await silences.remove(pick(all).id, OPERATOR);
}

export async function stopBatch({ admin }: App): Promise<void> {
  for (const { id, state } of await admin.batches.list()) {
    if (state === "running") await admin.batches.stop(id, OPERATOR);
  }
}

/** An operator acts on the rollout of the portal's target, or of the version at Bitrix24. */
export async function actOnRollout(world: World, { admin: { rollout } }: App): Promise<void> {
  const { pick, random, truth, log } = world;
  const target = (await world.record())?.target ?? `${Math.max(1, truth.version)}.0.0`;
  const act = pick(["pause", "resume", "resume", "promote", "promote", "hold", "release", "abort"] as const);
  // The rest of the life needs a higher version.
  if (act === "abort" && (isDone(target) || random() < 0.5)) return;
  if (act === "abort") world.isAborted = true;
  log.push(`    ${act} ${target}`);
  if (act === "hold" || act === "release") {
    await rollout.set(target, { hold: act === "hold" ? [MEMBER_ID] : [] }, OPERATOR);
  } else if (act === "resume") await rollout.resume(target, { ...OPERATOR, retryParked: pick([true, false]) });
  else await rollout[act](target, OPERATOR);
}

/** Returns whether no version is above a target. */
function isDone(target: string): boolean {
  return Number(target.split(".")[0]) >= LATEST;
}

/** An operator lets each rollout reach its last stage. */
export async function letRolloutsGoOn({ truth }: World, { admin: { rollout } }: App): Promise<void> {
  for (const version of truth.versions) {
    const target = `${version}.0.0`;
    const status = await rollout.status(target);
    const { waitsFor, stages, options: { hold, window } = { hold: [] } } = status ?? {};
    if (status?.state === "superseded" || status?.state === "aborted") continue;
    if (hold.length > 0 || window !== undefined) await rollout.set(target, { hold: [], window: null }, OPERATOR);
    const isPaused = waitsFor?.on === "resume" || waitsFor?.on === "failures";
    if (isPaused) await rollout.resume(target, { ...OPERATOR, retryParked: true });
    if (stages?.at(-1)?.state === "later") await rollout.promote(target, OPERATOR);
  }
}
