/** Commands for what goes wrong between an app and Bitrix24. */
import { CommandError, domainOf, installed, note, oneOf, scopesOf, type StandInCommand } from "./command.ts";
import { forge, FORGERIES } from "./forge.ts";

/** The failures that commands can cause. */
export const TROUBLE: readonly StandInCommand[] = [
  ...([
    ["duplicate", "d", "send the next event twice", { duplicate: 1 }],
    ["reorder", "r", "send the next event after another one", { reorder: true }],
    ["lose", "l", "do not send the next event", { lose: true }],
  ] as const).map(([name, key, help, delivery]): StandInCommand => ({
    ...{ name, key, help, usage: "" },
    run: (standIn) => {
      standIn.nextDelivery(delivery);
      note(standIn, `the next event: ${Object.keys(standIn.state().next).join(", ")}`);
      return Promise.resolve();
    },
  })),
  {
    name: "forge",
    usage: `[${FORGERIES.join("|")}]`,
    help: "an update that Bitrix24 has not sent",
    key: "g",
    run: async (standIn, [kind = "token"]) => {
      const { portal, version } = installed(standIn);
      await forge(standIn, portal, oneOf(kind, FORGERIES), version + 1);
    },
  },
  {
    name: "rename",
    usage: "[domain]",
    help: "rename it; the old address redirects",
    key: "n",
    run: (standIn, [domain]) => {
      const portal = standIn.selected();
      const before = portal.domain;
      const [, stem = "portal", number = ""] = /^(.*?)(?:-renamed(\d*))?\./.exec(before) ?? [];
      const to = domain === undefined
        ? `${stem}-renamed${before.includes("-renamed") ? Number(number || "1") + 1 : ""}.example.com`
        : domainOf(domain);
      if (standIn.portals().some((portal) => portal.domain === to)) {
        throw new CommandError(`cannot rename the portal to ${to}, another one has this name`);
      }
      portal.rename(to);
      note(standIn, `${before} is ${to} now; the old address redirects`);
      return Promise.resolve();
    },
  },
  {
    name: "payment",
    usage: "[on|off]",
    help: "the paid period ends, or begins again",
    key: "p",
    run: async (standIn, [to]) => {
      const { portal } = installed(standIn);
      const isOn = to === undefined ? !portal.state().paid : oneOf(to, ["on", "off"]) === "on";
      await standIn.sendEvent((delivery) => isOn ? portal.sends.pay(delivery) : portal.sends.stopPayment(delivery));
    },
  },
  {
    name: "grant",
    usage: "SCOPE …",
    help: "grant scopes, such as: grant calendar",
    run: (standIn, args) => {
      const portal = standIn.selected();
      portal.grant(...scopesOf(args));
      note(standIn, `${portal.domain} grants ${portal.state().scope.join(", ")}; the next update or check says so`);
      return Promise.resolve();
    },
  },
  {
    name: "revoke",
    usage: "SCOPE …",
    help: "take scopes back, so that calls fail",
    run: (standIn, args) => {
      const portal = standIn.selected();
      const scopes = scopesOf(args);
      const granted = portal.state().scope;
      const other = scopes.find((scope) => !granted.includes(scope));
      if (other !== undefined) {
        throw new CommandError(`${portal.domain} does not grant ${other}, it grants ${granted.join(", ")}`);
      }
      portal.revoke(...scopes);
      note(
        standIn,
        `${portal.domain} grants ${portal.state().scope.join(", ") || "no scope"}; the next update or check says so`,
      );
      return Promise.resolve();
    },
  },
  {
    name: "oauth",
    usage: "[down|hanging|up]",
    help: "take the OAuth hosts down, or up again",
    key: "h",
    run: (standIn, [to = standIn.state().outage === undefined ? "down" : "up"]) => {
      const state = oneOf(to, ["down", "hanging", "up"]);
      standIn.outage(...(state === "up" ? [] : [state] as const));
      note(standIn, state === "up" ? "the OAuth hosts answer again" : `the OAuth hosts are ${state}`);
      return Promise.resolve();
    },
  },
  {
    name: "slow",
    usage: "[ms|off]",
    help: "delay every answer of Bitrix24 (2000)",
    key: "s",
    run: (standIn, [to = standIn.state().slowMs === 0 ? "2000" : "off"]) => {
      const ms = to === "off" ? 0 : Number(to);
      if (to !== "off" && !(/^\d{1,6}$/.test(to))) {
        throw new CommandError(`cannot use "${to}", wanted milliseconds or off`);
      }
      standIn.slow(ms);
      note(standIn, ms === 0 ? "Bitrix24 answers at once" : `Bitrix24 takes ${ms} ms to answer`);
      return Promise.resolve();
    },
  },
  {
    name: "expire",
    usage: "",
    help: "expire the access tokens of the portal",
    key: "e",
    run: (standIn) => {
      standIn.selected().expireTokens();
      note(standIn, `the access tokens of ${standIn.selected().domain} have expired`);
      return Promise.resolve();
    },
  },
  {
    name: "fail",
    usage: "CODE [METHOD]",
    help: "refuse the next call (of that method)",
    run: (standIn, [code = "", method]) => {
      if (!/^\w{3,60}$/.test(code)) throw new CommandError("which error? wanted a code such as QUERY_LIMIT_EXCEEDED");
      standIn.selected().fail(code, method === undefined ? {} : { method });
      note(standIn, `the next call${method === undefined ? "" : ` of ${method}`} fails with ${code}`);
      return Promise.resolve();
    },
  },
];
