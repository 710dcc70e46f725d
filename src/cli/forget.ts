/** `onappupdate forget`: erases a portal. */
import type { Portal } from "../portal/portal.ts";
import { act, ACT_OPTIONS, type ActOptions } from "./act.ts";
import { defineCommand } from "./command.ts";
import { portalPath } from "./operator_client.ts";
import { domainOf } from "./portal_text.ts";

/** Erases a portal and what is stored about it. */
export const forget = defineCommand<ActOptions>({
  usage: "forget",
  summary: "erase a portal and what is stored about it",
  description:
    "Tokens, events, runs and the data of plugins go at once, and for good. What your handlers have stored " +
    "elsewhere stays.",
  group: "Act:",
  arguments: [{ usage: "<portal>", description: "its member_id or its domain" }],
  options: ACT_OPTIONS,
  examples: ['onappupdate forget acme.bitrix24.de --app ./app.ts --reason "request 5"'],
  run: (invocation) =>
    act(invocation, async ({ client, reason, confirm }) => {
      const { args: [named], show } = invocation;
      const portal = await client.get<Portal>(portalPath(named));
      const { memberId, state } = portal;
      await confirm(`Erase ${domainOf(portal)} (${memberId}), ${state}, for good?`);
      await client.post(portalPath(memberId, "/forget"), { reason });
      show({ memberId }, () => `Erased: ${memberId}.`);
    }),
});
