/** The commands of a stand-in: the same ones by typed text, by a key press and by the buttons of its page. */
import { CommandError, domainOf, note, type StandInCommand } from "./command.ts";
import { LIFE } from "./life_commands.ts";
import type { StandIn } from "./stand_in.ts";
import { TROUBLE } from "./trouble_commands.ts";

/** Portals and earlier events. */
const OTHERS: readonly StandInCommand[] = [
  {
    name: "portal",
    usage: "[domain]",
    help: "select a portal, or add one",
    run: (standIn, [domain]) => {
      const known = standIn.portals().find((portal) => portal.domain === domain);
      if (known !== undefined) standIn.select(known);
      const { domain: name } = known ?? standIn.addPortal(...(domain === undefined ? [] : [domainOf(domain)]));
      note(standIn, known === undefined ? `new portal ${name}` : `portal ${name}`);
      return Promise.resolve();
    },
  },
  {
    name: "replay",
    usage: "NUMBER",
    help: "post an earlier event again, as it was",
    run: async (standIn, [number = ""]) => {
      const entry = standIn.transcript.find(Number(number));
      if (entry?.kind !== "sent" || entry.body === "") {
        throw new CommandError(`cannot replay "${number}", wanted the number of an event, such as 3 for #3`);
      }
      const { name, url, body, memberId, domain, detail } = entry;
      await standIn.post({
        ...{ name, url, body, memberId, domain, remark: `replay of #${entry.id}` },
        ...(detail === undefined ? {} : { detail }),
      });
    },
  },
];

/** All commands, in the order of the help. */
export const STAND_IN_COMMANDS: readonly StandInCommand[] = [...LIFE, ...TROUBLE, ...OTHERS];

/**
 * Runs a line such as `update 3`. Commands run one after the other. An app that does not answer is no error: the transcript
 * shows it.
 *
 * @throws {CommandError} if there is no such command, or it does not take these arguments
 */
export async function runLine(standIn: StandIn, line: string): Promise<void> {
  const [name = "", ...args] = line.trim().split(/\s+/);
  const command = STAND_IN_COMMANDS.find((command) => command.name === name);
  if (command === undefined) {
    const names = STAND_IN_COMMANDS.map(({ name }) => name).join(", ");
    throw new CommandError(`unknown command "${name.slice(0, 30)}", wanted ${names}`);
  }
  const before = standIn.transcript.entries().at(-1)?.id ?? 0;
  try {
    await command.run(standIn, args);
  } catch (error) {
    // The failed delivery is in the transcript.
    const hasFailed = standIn.transcript.entries().some((entry) =>
      entry.id > before && entry.kind === "sent" && entry.outcome === "failed"
    );
    if (error instanceof CommandError || !hasFailed) throw error;
  }
}
