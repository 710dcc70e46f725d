/** `onappupdate silences`: silences of notifications. */
import { defined } from "../defined.ts";
import type { Silence } from "../plugin/silences.ts";
import { act, ACT_OPTIONS, type ActOptions } from "./act.ts";
import { defineCommand, invalid, type Invocation } from "./command.ts";
import { withClient } from "./connect.ts";
import { usageError } from "./exit.ts";
import { safe, table, time } from "./text.ts";

interface SilencesOptions extends ActOptions {
  readonly kind?: readonly string[];
  readonly target?: string;
  readonly upgrade?: string;
  readonly error?: string;
  readonly for?: number;
}

const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads a duration such as `30m`, `2h` or `3d`. */
function milliseconds(text: string): number {
  const [, count, unit] = /^(\d{1,4})([mhd])$/.exec(text) ?? [];
  if (count === undefined || Number(count) === 0) throw invalid("minutes, hours or days, such as 30m, 2h or 3d");
  return Number(count) * UNITS[unit!]!;
}

/** Lists, adds or removes silences. */
export const silences = defineCommand<SilencesOptions>({
  usage: "silences",
  summary: "list silences of notifications, add or remove one",
  description:
    "While a silence holds, operators get no notification that it matches. Customers are notified all the same.",
  group: "Act:",
  arguments: [
    { usage: "[action]", description: "list by default", choices: ["list", "add", "remove"] },
    { usage: "[id]", description: "the silence to remove" },
  ],
  options: [
    { flags: "--kind <kind>", description: "only this kind, such as portal_parked", isRepeatable: true },
    { flags: "--target <version>", description: "only what is about this target" },
    { flags: "--upgrade <id>", description: "only what is about this upgrade" },
    { flags: "--error <fingerprint>", description: "only failures with this fingerprint" },
    { flags: "--for <time>", description: "how long, such as 30m, 2h or 3d; required for add", parse: milliseconds },
    ...ACT_OPTIONS,
  ],
  examples: [
    "onappupdate silences --app ./app.ts",
    "onappupdate silences add --kind portal_parked --upgrade 3 --for 2h \\\n" +
    '--app ./app.ts --reason "the fix is being deployed"',
    'onappupdate silences remove ID --app ./app.ts --reason "deployed"',
  ],
  run: (invocation) => {
    const { args: [action = "list", id], options: { kind, target, upgrade, error, for: forMs } } = invocation;
    const isMatched = [kind, target, upgrade, error].some((value) => value !== undefined);
    if (action !== "add" && (isMatched || forMs !== undefined)) {
      throw usageError("--kind, --target, --upgrade, --error and --for are for silences add");
    }
    if ((action === "remove") !== (id !== undefined)) {
      throw usageError("wanted silences, silences add, or silences remove ID");
    }
    if (action === "list") return list(invocation);
    if (id !== undefined) return remove(invocation, id);
    if (forMs === undefined) throw usageError("wanted --for TIME, such as 2h");
    if (!isMatched) throw usageError("wanted at least one of --kind, --target, --upgrade and --error");
    return add(invocation, forMs);
  },
});

function list(invocation: Invocation<SilencesOptions>): Promise<void> {
  return withClient(invocation, async (client) => {
    const { terminal: { stdout }, show, note } = invocation;
    const { items } = await client.get<{ readonly items: readonly Silence[] }>("/silences", {});
    const rows = items.map((silence) => [
      ...[silence.id, describe(silence), time(silence.until), silence.by, silence.reason],
    ]);
    show({ items }, () => rows.length === 0 ? "" : table(["ID", "MATCHES", "UNTIL", "BY", "REASON"], rows, stdout));
    if (rows.length === 0) note("No silence holds.");
  });
}

function describe({ kinds, target, upgradeId, fingerprint }: Silence): string {
  return [
    kinds?.join(" or "),
    target !== undefined && `target ${target}`,
    upgradeId !== undefined && `upgrade ${upgradeId}`,
    fingerprint !== undefined && `error ${fingerprint}`,
  ].filter((part) => typeof part === "string").join(", ");
}

async function add(invocation: Invocation<SilencesOptions>, forMs: number): Promise<void> {
  const { options: { kind: kinds, target, upgrade: upgradeId, error: fingerprint }, terminal, show } = invocation;
  await act(invocation, async ({ client, reason, confirm }) => {
    await confirm(`Silence these notifications until ${time(terminal.now() + forMs)}?`);
    const silence = await client.post<Silence>("/silences", {
      ...defined({ kinds, target, upgradeId, fingerprint }),
      ...{ until: terminal.now() + forMs, reason },
    });
    show(silence, () => `Silenced until ${time(silence.until)}: ${safe(describe(silence))}\n${safe(silence.id)}`);
  });
}

async function remove(invocation: Invocation<SilencesOptions>, id: string): Promise<void> {
  await act(invocation, async ({ client, reason, confirm }) => {
    await confirm(`Remove the silence ${safe(id)}?`);
    await client.post(`/silences/${encodeURIComponent(id)}/remove`, { reason });
    invocation.show({ id }, () => "Removed.");
  });
}
