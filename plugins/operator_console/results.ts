/** The result of an action, as a page. */
import type { CheckReport, RehearsalReport } from "../../mod.ts";
import type { ActionId } from "./actions.ts";
import type { ActionForm } from "./action_form.ts";
import { facts } from "./cards.ts";
import { link } from "./elements.ts";
import { type Html, markup } from "./html.ts";
import type { PageContext } from "./page.ts";

/** Returns the page of a result. */
export function resultOf(ctx: PageContext, id: ActionId, answer: unknown, { back }: ActionForm): Html {
  const content = id === "rehearsePortal" ? rehearsal(answer as RehearsalReport) : check(ctx, answer as CheckReport);
  return markup`${content}<p>${link(ctx, ctx.t("result.back"), back)}</p>`;
}

function rehearsal({ text }: RehearsalReport): Html {
  return markup`<pre class="report" tabindex="0">${text}</pre>`;
}

function check({ t }: PageContext, { installed, problems }: CheckReport): Html {
  return markup`${facts([[t("result.installed"), installed ?? "—"]])}${
    problems.length === 0
      ? markup`<p>${t("result.noProblem")}</p>`
      : markup`<ul class="problems">${problems.map(({ message }) => markup`<li class="message">${message}</li>`)}</ul>`
  }`;
}
