/** An action on one portal, or on all that match. */
import type { NewBatch, StartedBatch } from "../plugin/admin_pages.ts";
import type { RollbackReport } from "../plugin/admin_reports.ts";
import type { Portal } from "../portal/portal.ts";
import { act, ACT_OPTIONS, type Acting, type ActOptions, whenText } from "./act.ts";
import { type ArgumentSpec, type Invocation, type OptionSpec, wholeNumber } from "./command.ts";
import { EXIT, type ExitCode, usageError } from "./exit.ts";
import { pagesOf, portalPath } from "./operator_client.ts";
import { describeMatch, type FilterOptions, matchOf, unmatchedHint } from "./portal_filter.ts";
import { domainOf } from "./portal_text.ts";
import { counted, safe } from "./text.ts";

/** The options of actions on portals. */
export interface PortalActOptions extends ActOptions, FilterOptions {
  readonly expect?: number;
}

/** The argument of actions on portals. */
export const PORTAL_ARGUMENT: ArgumentSpec = {
  usage: "[portal]",
  description: "its member_id or its domain; or select many by options",
};

/** Returns the flags of an action: these filters, then what all actions have. */
export function portalActOptions(filters: readonly OptionSpec[]): readonly OptionSpec[] {
  return [
    ...filters,
    {
      flags: "--expect <n>",
      description: "the number that you have seen: if more match, nothing is done",
      parse: wholeNumber(0),
    },
    ...ACT_OPTIONS,
  ];
}

/** An action on portals. */
export interface PortalAction extends Pick<NewBatch, "action" | "upgradeId" | "version"> {
  /** Path below the portal, such as `/retry`. */
  readonly path: string;
  /** For people, such as `skip upgrade 3 of`. */
  readonly verb: string;
  /** Returns a sentence about what was done to a portal, by its state before; empty if there is nothing to say. */
  readonly remarkOf?: (portal: Portal) => string;
  /** Whether it is over once it is answered: no started app has to go on with a portal. */
  readonly endsAtOnce?: true;
  /** Filter of many portals. By default, that of the options. */
  readonly filter?: FilterOptions;
}

/** Does an action on the portal that was named, or on all that the options select. */
export async function actOnPortals(
  invocation: Invocation<PortalActOptions>,
  action: PortalAction,
): Promise<ExitCode | void> {
  const { args: [named], options, terminal } = invocation;
  const match = matchOf(action.filter ?? options);
  const isMany = Object.keys(match).length > 0;
  if (named !== undefined && isMany) throw usageError("saw a portal and a filter, wanted one of them");
  if (named === undefined && !isMany) throw usageError("wanted a portal, or a filter such as --status parked");
  if (named !== undefined && options.expect !== undefined) throw usageError("--expect is for filters: saw a portal");
  if (isMany && !terminal.isInteractive && options.expect === undefined) {
    throw usageError("nothing was done: without a terminal, a filter needs --expect N, the number that you have seen");
  }
  return await act(
    invocation,
    (acting) =>
      named === undefined ? onMany(invocation, action, acting, match) : onOne(invocation, action, acting, named),
  );
}

async function onOne(
  { show }: Invocation<PortalActOptions>,
  { path, verb, upgradeId, version, remarkOf = () => "", endsAtOnce }: PortalAction,
  { client, reason, confirm }: Acting,
  named: string,
): Promise<void> {
  const portal = await client.get<Portal>(portalPath(named));
  const domain = domainOf(portal);
  const { memberId, state, version: from = "an unknown version" } = portal;
  await confirm(`${capitalized(verb)} ${domain} (${memberId}), ${state} on ${from}?`);
  // By its member_id: what was shown is what is acted on.
  const body = { reason, ...upgradeId !== undefined && { upgradeId }, ...version !== undefined && { version } };
  const answer = await client.post<object>(portalPath(memberId, path), body);
  show({ memberId, ...answer }, () => {
    const done = `Done: ${safe(`${verb} ${domain}`)}. ${safe(remarkOf(portal))}`.trim();
    return [done, ...outcomeLines(answer), endsAtOnce === true ? "" : whenText(client)].join("\n").trim();
  });
}

/** The report of a rollback. */
function outcomeLines(answer: object): string[] {
  if (!("undone" in answer)) return [];
  const { undone, without } = answer as RollbackReport;
  return [
    ...undone.map(({ upgradeId, step }) => `  undone: upgrade ${upgradeId}, step ${JSON.stringify(step)}`),
    ...without.map(({ upgradeId, step }) => `  no undo: upgrade ${upgradeId}, step ${JSON.stringify(step)}`),
  ].map(safe);
}

async function onMany(
  { options, show, note }: Invocation<PortalActOptions>,
  { action, verb, upgradeId, version }: PortalAction,
  { client, reason, confirm }: Acting,
  match: NewBatch["match"],
): Promise<ExitCode> {
  let seen = 0;
  for await (const { items } of pagesOf<Portal>(client, "/portals", { ...match })) seen += items.length;
  const { expect = seen } = options;
  if (seen === 0) {
    note(`No portals match: nothing was done.${unmatchedHint(match)}`);
    return EXIT.done;
  }
  // More than expected are refused by the app, which records the attempt.
  if (seen <= expect) await confirm(`${capitalized(verb)} ${counted(seen, "portal")}: ${describeMatch(match)}?`);
  const batch = {
    action,
    match,
    expect,
    reason,
    ...upgradeId !== undefined && { upgradeId },
    ...version !== undefined && { version },
  };
  const started = await client.post<Required<StartedBatch>>("/batches", batch);
  const { id, matched } = started;
  show(
    started,
    () =>
      `Batch operation ${id}: ${verb} ${counted(matched, "portal")}.\n${
        whenText(client, " ")
      }Follow it: onappupdate batches`,
  );
  return EXIT.done;
}

function capitalized(verb: string): string {
  return `${verb[0]!.toUpperCase()}${verb.slice(1)}`;
}
