/** The form of an action: what is going to be done to what, and why. */
import type { StoredPortal } from "../../mod.ts";
import type { ErrorBody } from "../operator_api/api_error.ts";
import type { Route } from "../operator_api/route.ts";
import { type Action, type ActionId, ACTIONS } from "./actions.ts";
import { facts } from "./cards.ts";
import { badge, hiddenFields, link, portalLink, textField } from "./elements.ts";
import { type Html, markup } from "./html.ts";
import type { PageContext } from "./page.ts";
import { SILENCE_FIELDS, silenceFields } from "./silences.ts";
import { isTextKey, type TextKey } from "./texts.ts";

/** The action that an operator asks for. */
export interface ActionForm {
  readonly id: ActionId;
  readonly route: Route;
  /** The parameters of the path and the fields of the body, by their names, such as `portal` and `match.status`. */
  readonly fields: Readonly<Record<string, string>>;
  readonly reason: string;
  /** The page to go to afterwards. */
  readonly back: string;
  /** The number of portals that the operator has seen. */
  readonly expect?: string;
}

/** Why it was not done. */
export type ActionProblem = ErrorBody & { readonly status: number };

/** Other parts of the form. */
export interface ActionFormParts extends ActionForm {
  /** The portal on which to act. */
  readonly stored: StoredPortal | undefined;
  /** The number of portals that match now. */
  readonly matched: number | undefined;
  readonly problem: ActionProblem | undefined;
}

/** Returns what an action is called: a batch operation by what it does, and to how many portals. */
export function nameOf(
  { t }: PageContext,
  { id, fields, matched }: Pick<ActionFormParts, "id" | "fields" | "matched">,
): string {
  const key = `acting.action.${fields.action}`;
  if (matched === undefined || !isTextKey(key)) return t(ACTIONS[id].name);
  return t("acting.batch", { action: t(key), count: matched });
}

/** Returns the form of an action. */
export function actionForm(ctx: PageContext, parts: ActionFormParts): Html {
  const { id, route, fields, reason, back, stored, matched, problem } = parts;
  const { t } = ctx;
  const action: Action = ACTIONS[id];
  const asked = askedFields(parts);
  const shown = Object.entries(fields).filter(([name]) => name !== "portal" && !asked.includes(name));
  const kept = Object.fromEntries(Object.entries(fields).filter(([name]) => !asked.includes(name)));
  return markup`${problem === undefined ? "" : problemNotice(ctx, problem)}
<section class="card form-card" aria-label="${t(action.name)}"><p>${t(action.about)}</p>
${
    facts([
      [t("acting.field.portal"), stored && portalText(ctx, stored)],
      ...shown.map(([name, value]) => [t(fieldKey(name)), valueText(ctx, name, value)] as const),
    ])
  }
${matched === undefined ? "" : markup`<p class="matched">${t("acting.matched", { count: matched })}</p>`}
<form method="post" action="${ctx.href(`/act/${id}`)}" class="act">
${hiddenFields({ ...kept, back, expect: matched })}
${id === "addSilence" ? silenceFields(ctx, fields) : asked.map((name) => askedField(ctx, parts, name))}
${
    route.action === undefined ? "" : textField({
      ...{ name: "reason", label: t("acting.reason"), value: reason, hint: t("acting.reason.hint") },
      ...{ maxLength: 500, isRequired: true },
    })
  }<p class="actions"><button class="${action.isDangerous ? "danger" : "primary"}"${
    matched === 0 ? markup` disabled` : ""
  }>${t("acting.confirm", { action: nameOf(ctx, parts) })}</button> ${link(ctx, t("acting.cancel"), back)}</p>
</form></section>`;
}

function problemNotice({ t }: PageContext, { code, message, matched }: ActionProblem): Html {
  const text = code === "expect_exceeded"
    ? t("acting.more", { count: matched ?? 0 })
    : `${t("acting.nothingDone")} ${message}`;
  return markup`
    <div class="notice notice-bad" role="alert">
      <p>${text}</p>
    </div>
  `;
}

/** Returns the names of the fields that the operator fills in: those that the link has left open. */
function askedFields({ id, fields, problem, route }: ActionFormParts): readonly string[] {
  if (id === "addSilence") return SILENCE_FIELDS;
  const open = {
    ...{ skipUpgrade: ["upgradeId"], setTarget: ["version"], setInitialVersion: ["version"] },
    ...{ rehearsePortal: ["target"], resumeRollout: ["retryParked"] },
    startBatch: fields.action === "skip" ? ["upgradeId"] : fields.action?.startsWith("set") ? ["version"] : [],
  } as Readonly<Record<string, readonly string[]>>;
  const isWrong = (name: string): boolean => problem?.issues?.some(({ path }) => path === name) ?? false;
  return (open[id] ?? []).filter((name) =>
    Object.hasOwn(route.body.properties, name) &&
    (fields[name] === undefined || isWrong(name) || name === "retryParked")
  );
}

function askedField({ t }: PageContext, { fields, route }: ActionFormParts, name: string): Html {
  const label = t(fieldKey(name));
  if (name === "retryParked") {
    return markup`<p class="field"><label><input type="checkbox" name="${name}" value="true"${
      fields[name] === "true"
        ? markup`
          checked
        `
        : ""
    }> ${label}</label></p>`;
  }
  return textField({
    name,
    label,
    value: fields[name] ?? "",
    isRequired: route.body.required.includes(name) || name !== "target",
  });
}

function fieldKey(name: string): TextKey {
  const key = `acting.field.${name}`;
  return isTextKey(key) ? key : "acting.field.id";
}

/** Returns a value as people read it. */
function valueText({ t }: PageContext, name: string, value: string): string {
  const key =
    { action: `acting.action.${value}`, "match.status": `state.${value}`, "match.blockedOn": `blocked.${value}` }[name];
  return isTextKey(key) ? t(key) : value;
}

function portalText(ctx: PageContext, portal: StoredPortal): Html {
  return markup`${portalLink(ctx, portal)} ${portal.version ?? ""} ${badge(ctx, portal.state)}`;
}
