/** Forged events: each is one that outsiders, or users of another portal, could post. */
import type { FakeForgeOptions } from "../../testing/bitrix24/event.ts";
import type { FakePortal } from "../../testing/bitrix24/portal.ts";
import { newMemberId, type StandIn } from "./stand_in.ts";

/** The forged part: the tokens, the portal, the addresses to call, or the portal's domain. */
export const FORGERIES = ["token", "member", "endpoint", "domain"] as const;

/** One of {@linkcode FORGERIES}. */
export type Forgery = typeof FORGERIES[number];

const MADE_UP = "0badf00d".repeat(4);

const OPTIONS: Readonly<Record<Forgery, () => FakeForgeOptions>> = {
  token: () => ({ applicationToken: MADE_UP, tokens: { accessToken: MADE_UP, refreshToken: MADE_UP } }),
  member: () => ({ auth: { member_id: newMemberId() }, tokens: { accessToken: MADE_UP, refreshToken: MADE_UP } }),
  endpoint: () => ({
    auth: {
      client_endpoint: "https://attacker.example.net/rest/",
      server_endpoint: "https://attacker.example.net/rest/",
    },
    tokens: { accessToken: MADE_UP, refreshToken: MADE_UP },
  }),
  domain: () => ({ auth: { domain: "attacker.example.net" } }),
};

/** Posts a forged update. */
export async function forge(standIn: StandIn, portal: FakePortal, forgery: Forgery, version: number): Promise<void> {
  const body = portal.forge("ONAPPUPDATE", { VERSION: String(version) }, OPTIONS[forgery]());
  const { memberId, domain } = portal;
  await standIn.post({
    ...{ name: "ONAPPUPDATE", url: standIn.events, body, memberId, domain },
    ...{ detail: String(version), remark: `forged ${forgery}` },
  });
}
