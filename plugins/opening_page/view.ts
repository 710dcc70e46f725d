/** The view of a page: a pure function of the state of an opening. */
import type { OpeningState } from "../../mod.ts";
import { languageOf, textsIn } from "./texts.ts";

/** The content of the page, and what it does next. The browser receives it as JSON when it asks again. */
export interface View {
  /** `ready`: there is nothing to wait for. */
  readonly state: "waiting" | "stuck" | "ready";
  /** The text for everybody. */
  readonly status: string;
  /** Details for administrators. */
  readonly message?: string;
  /** Absent unless the running upgrade reports progress. */
  readonly progress?: { readonly done: number; readonly total?: number };
  /** The user may retry. */
  readonly canRetry: boolean;
  /** Whether `BX24.installFinish()` is to be called once the page is ready. */
  readonly finishes: boolean;
}

/** The options of `openingPage()` for stuck portals. */
export interface Leniency {
  readonly finishWhenParked: boolean;
  readonly openWhenStuck: boolean;
}

/** Returns the view of an opening. */
export function viewOf(
  { isAdmin, isInstalled, language, upgrade }: OpeningState,
  { finishWhenParked, openWhenStuck }: Leniency,
): View {
  const texts = textsIn(languageOf(language));
  const common = { canRetry: false, finishes: !isInstalled };
  const { state, progress, message, isUpdate = false } = upgrade;
  if (state === "current" || (state === "parked" && !isInstalled && finishWhenParked)) {
    return { ...common, state: "ready", status: texts.ready };
  }
  // Nobody on the portal can change that, and the data of the earlier version is whole.
  if (state === "held") return { ...common, state: "ready", status: texts.ready, finishes: false };
  const isStuck = state === "parked" || state === "blocked";
  if (isStuck && openWhenStuck && (isInstalled || isUpdate)) {
    return { ...common, state: "ready", status: texts.ready, finishes: false };
  }
  if (state === "upgrading") {
    const { done, total, note } = progress ?? {};
    return {
      ...common,
      state: "waiting",
      status: isInstalled ? texts.upgrading : texts.installing,
      ...(done === undefined ? {} : { progress: total === undefined ? { done } : { done, total } }),
      ...(isAdmin && note !== undefined ? { message: note } : {}),
    };
  }
  const status = !isAdmin && !isInstalled ? texts.waitsForAdministrator : texts[state];
  // Messages are for those who can act on them: they may tell details of the app.
  return { ...common, state: "stuck", status, canRetry: isAdmin, ...(isAdmin && message ? { message } : {}) };
}
