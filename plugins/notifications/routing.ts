/** Rules: which notifications go to which channels. */
import { option, type OptionRules } from "../../mod.ts";
import type { GroupLabels } from "./group.ts";
import { CUSTOMER_KINDS, KINDS, OPERATOR_KINDS, SEVERITIES, type Severity } from "./kinds.ts";
import type { NotificationKind } from "./message.ts";

/** Sends notifications to channels. All rules that match count. */
export interface NotificationRule {
  /** The names of the channels. */
  readonly channels: readonly string[];
  /**
   * The kinds that go there.
   *
   * @default all kinds of the audience
   */
  readonly kinds?: readonly NotificationKind[];
  /**
   * Minimum severity of what goes there.
   *
   * @default "info"
   */
  readonly minSeverity?: Severity;
  /**
   * `"operators"`: the vendor's. `"customers"`: those of the portal that the notification is about. They get `portal_upgraded`,
   * and `portal_blocked` if they can end the block, and neither errors nor ids nor links.
   *
   * @default "operators"
   */
  readonly audience?: "operators" | "customers";
}

/** The rules of a {@linkcode NotificationRule}. */
export const RULE_RULES: OptionRules<NotificationRule> = {
  channels: option.required(option.list("a list of names of channels", option.text("the name of a channel"))),
  kinds: option.list("a list of kinds", option.oneOf(...Object.keys(KINDS))),
  minSeverity: option.oneOf(...SEVERITIES),
  audience: option.oneOf("operators", "customers"),
};

/** Returns the names of the channels of a notification; none if no rule matches. */
export type Route = (kind: NotificationKind, labels: GroupLabels) => readonly string[];

/** The routes of notifications. */
export interface Routing {
  readonly operators: Route;
  readonly customers: Route;
}

/**
 * Returns the routes. Without rules, all channels get what operators get.
 *
 * @throws {TypeError} if a rule names a channel that does not exist, or a kind that its audience does not get
 */
export function createRouting(channels: readonly string[], rules?: readonly NotificationRule[]): Routing {
  const all: readonly NotificationRule[] = rules ?? [{ channels }];
  all.forEach((rule, i) => checkRule(rule, i, channels));
  const route = (audience: "operators" | "customers", kinds: readonly NotificationKind[]): Route => {
    const own = all.filter((rule) => (rule.audience ?? "operators") === audience);
    return (kind, { channel }) => {
      const severity = SEVERITIES.indexOf(KINDS[kind].severity);
      const found = own.filter(({ kinds: wanted = kinds, minSeverity = "info" }) =>
        wanted.includes(kind) && severity >= SEVERITIES.indexOf(minSeverity)
      );
      // A channel is not notified of its own problems.
      return [...new Set(found.flatMap(({ channels }) => channels))].filter((name) => name !== channel);
    };
  };
  return { operators: route("operators", OPERATOR_KINDS), customers: route("customers", CUSTOMER_KINDS) };
}

function checkRule(
  { channels, kinds = [], audience = "operators" }: NotificationRule,
  i: number,
  known: readonly string[],
): void {
  const unknown = channels.findIndex((name) => !known.includes(name));
  if (unknown !== -1) {
    throw new TypeError(
      `cannot notify with rules.${i}.channels.${unknown} ${JSON.stringify(channels[unknown])}, wanted ${
        known.map((name) => JSON.stringify(name)).join(" or ")
      }`,
    );
  }
  const got = audience === "customers" ? CUSTOMER_KINDS : OPERATOR_KINDS;
  const foreign = kinds.findIndex((kind) => !got.includes(kind));
  if (foreign !== -1) {
    throw new TypeError(
      `cannot notify with rules.${i}.kinds.${foreign} ${JSON.stringify(kinds[foreign])}, wanted ${
        audience === "customers"
          ? got.map((kind) => JSON.stringify(kind)).join(" or ")
          : 'a kind that operators get, or audience "customers"'
      }`,
    );
  }
}
