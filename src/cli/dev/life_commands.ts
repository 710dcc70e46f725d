/** Commands for the life of an app on a portal. */
import { CommandError, flagsOf, installed, oneOf, type StandInCommand, versionOf } from "./command.ts";
import type { StandIn } from "./stand_in.ts";

/** Life cycle of the app on a portal. */
export const LIFE: readonly StandInCommand[] = [
  {
    name: "install",
    usage: "[version] [--wizard]",
    help: "install; --wizard: events after finish",
    key: "i",
    run: async (standIn, args) => {
      const { rest: [version = "1"], has } = flagsOf(args, ["wizard"]);
      const portal = standIn.selected();
      const to = versionOf(version);
      await standIn.sendEvent((delivery) =>
        portal.sends.install(to, { ...delivery, ...(has("wizard") && { wizard: true }) })
      );
    },
  },
  {
    name: "finish",
    usage: "",
    help: "finish the installation of a wizard",
    key: "f",
    run: async (standIn) => {
      const { portal } = installed(standIn);
      await standIn.sendEvent((delivery) => portal.sends.installFinish(delivery));
    },
  },
  {
    name: "update",
    usage: "[version] [--token] [--wizard]",
    help: "update; --token: new application token",
    key: "u",
    run: async (standIn, args) => {
      const { rest: [version], has } = flagsOf(args, ["token", "wizard"]);
      const { portal, version: before } = installed(standIn);
      const to = version === undefined ? before + 1 : versionOf(version);
      const options = { rotateToken: has("token"), dropRegistrations: true, ...(has("wizard") && { wizard: true }) };
      await standIn.sendEvent((delivery) => portal.sends.update(to, { ...options, ...delivery }));
    },
  },
  {
    name: "uninstall",
    usage: "[--keep]",
    help: "remove; --keep: the app's data stays",
    key: "x",
    run: async (standIn, args) => {
      const { has } = flagsOf(args, ["keep"]);
      const { portal } = installed(standIn);
      await standIn.sendEvent((delivery) => portal.sends.uninstall({ clean: !has("keep"), ...delivery }));
    },
  },
  {
    name: "event",
    usage: "NAME [KEY=VALUE …]",
    help: "such as ONCRMDEALADD FIELDS[ID]=7",
    run: async (standIn, [name = "", ...pairs]) => {
      if (!/^ON[A-Z0-9_]+$/i.test(name)) throw new CommandError("which event? wanted a name such as ONCRMDEALADD");
      const { portal } = installed(standIn);
      const data = Object.fromEntries(pairs.map((pair) => {
        const [, key, value] = /^([^=]+)=(.*)$/.exec(pair) ?? [];
        if (key === undefined) throw new CommandError(`cannot use "${pair}", wanted KEY=VALUE`);
        return [key, value!];
      }));
      await standIn.sendEvent((delivery) => portal.sends.event(name.toUpperCase(), data, delivery));
    },
  },
  {
    name: "open",
    usage: "[admin|user]",
    help: "open the app's page",
    key: "a",
    run: async (standIn, [who = "admin"]) => await open(standIn, oneOf(who, ["admin", "user"])),
  },
];

/** Opens the app's page as a user of the selected portal. */
async function open(standIn: StandIn, who: "admin" | "user"): Promise<void> {
  const { portal } = installed(standIn);
  const request = portal.open({ userId: who === "admin" ? 1 : 7, admin: who === "admin", url: standIn.page });
  const { memberId, domain } = portal;
  await standIn.post({ name: "opening", url: request.url, body: await request.text(), memberId, domain, detail: who });
}
