/** Silences of notifications: the fields of a new one, and what one matches. */
import type { SilenceMatch } from "../../mod.ts";
import { selectField, textField } from "./elements.ts";
import { type Html, markup } from "./html.ts";
import type { PageContext } from "./page.ts";
import { isTextKey, TEXTS } from "./texts.ts";

const KIND_PREFIX = "silences.kind.";

/** Kinds of notifications that operators get, as `notifications()` names them. A silence may name others, too. */
export const SILENCED_KINDS: readonly string[] = Object.keys(TEXTS).filter((key) => key.startsWith(KIND_PREFIX))
  .map((key) => key.slice(KIND_PREFIX.length));

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;

/** The times that a silence can hold. */
const LASTS = {
  "30m": HOUR_MS / 2,
  ...{ "2h": 2 * HOUR_MS, "8h": 8 * HOUR_MS },
  ...{ "1d": DAY_MS, "3d": 3 * DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS, "90d": 90 * DAY_MS },
} as const;

type Lasts = keyof typeof LASTS;

const DEFAULT_LASTS: Lasts = "2h";

/** Returns when a silence ends that lasts as long as this from now on; `undefined` if it is none of the times. */
export function silencedUntil(lasts: string | undefined, now: number): number | undefined {
  return lasts !== undefined && Object.hasOwn(LASTS, lasts) ? now + LASTS[lasts as Lasts] : undefined;
}

/** The fields of a new silence, in the order of the form. `lasts` stands for `until`. */
export const SILENCE_FIELDS = ["kinds", "upgradeId", "fingerprint", "target", "lasts"] as const;

/** Maximum length of a field, as the operator API has it. */
const MAX_LENGTHS: Readonly<Record<string, number>> = { target: 100, upgradeId: 1000, fingerprint: 100 };

/** Returns the fields of a new silence, with what was filled in. */
export function silenceFields(ctx: PageContext, values: Readonly<Record<string, string>>): Html {
  const { t } = ctx;
  const lasts = Object.keys(LASTS).map((one) => [one, t(`silences.lasts.${one as Lasts}`)] as const);
  return markup`${kindBoxes(ctx, values.kinds ?? "")}
<p class="hint">${t("silences.hint.match")}</p>
${
    (["upgradeId", "fingerprint", "target"] as const).map((name) =>
      textField({
        ...{
          name,
          label: t(name === "target" ? "portal.target" : `acting.field.${name}`),
          value: values[name] ?? "",
          maxLength: MAX_LENGTHS[name]!,
        },
        hint: t(`silences.hint.${name}`),
      })
    )
  }${selectField({ name: "lasts", label: t("acting.field.lasts"), value: values.lasts ?? DEFAULT_LASTS }, lasts)}`;
}

function kindBoxes(ctx: PageContext, ticked: string): Html {
  const { t } = ctx;
  const chosen = ticked.split(",").filter((kind) => kind !== "");
  const kinds = [...new Set([...SILENCED_KINDS, ...chosen])];
  return markup`<fieldset class="choices" aria-describedby="kinds-hint"><legend>${t("acting.field.kinds")}</legend>${
    kinds.map((kind) =>
      markup`<label><input type="checkbox" name="kinds.${kind}" value="true"${
        chosen.includes(kind) ? markup` checked` : ""
      }> ${kindText(ctx, kind)}</label>`
    )
  }<p class="hint" id="kinds-hint">${t("silences.hint.kinds")}</p></fieldset>`;
}

function kindText({ t }: PageContext, kind: string): string {
  const key = `${KIND_PREFIX}${kind}`;
  return isTextKey(key) ? t(key) : kind;
}

/** Returns what a silence matches, in words; `link` returns the link to the portals with a failure. */
export function silenceText(ctx: PageContext, match: SilenceMatch, link: (text: string) => Html): Html {
  const { t } = ctx;
  const { kinds, upgradeId, target, fingerprint } = match;
  const kind = kinds === undefined ? t("silences.kinds.all") : kinds.map((kind) => kindText(ctx, kind)).join("; ");
  const parts: readonly (Html | string)[] = [
    ...(upgradeId === undefined ? [] : [t("parts.upgrade", { id: upgradeId })]),
    ...(target === undefined ? [] : [t("silences.target", { version: target })]),
    ...(fingerprint === undefined ? [] : [link(t("silences.fingerprint"))]),
  ];
  return markup`${kind}${parts.map((part) => markup` · ${part}`)}`;
}
