/** The actions of the console: each is a route of the operator API. */
import type { RouteId } from "./calls.ts";
import type { TextKey } from "./texts.ts";

/** An action. */
export interface Action {
  /** Imperative, for buttons and the heading of its page. */
  readonly name: TextKey;
  /** One sentence: its consequences. */
  readonly about: TextKey;
  /** Reported when it is done; absent for those that show what they have found out. */
  readonly done?: TextKey;
  /** Cannot be taken back. */
  readonly isDangerous?: true;
}

/** All actions, by the id of their route. */
export const ACTIONS = {
  retryPortal: { name: "act.retryPortal", about: "act.retryPortal.about", done: "act.retryPortal.done" },
  skipUpgrade: { name: "act.skipUpgrade", about: "act.skipUpgrade.about", done: "act.skipUpgrade.done" },
  rollBackPortal: {
    ...{ name: "act.rollBackPortal", about: "act.rollBackPortal.about", done: "act.rollBackPortal.done" },
    isDangerous: true,
  },
  setTarget: { name: "act.setTarget", about: "act.setTarget.about", done: "act.setTarget.done" },
  setInitialVersion: {
    ...{ name: "act.setInitialVersion", about: "act.setInitialVersion.about", done: "act.setInitialVersion.done" },
  },
  forgetPortal: {
    ...{ name: "act.forgetPortal", about: "act.forgetPortal.about", done: "act.forgetPortal.done" },
    isDangerous: true,
  },
  checkPortal: { name: "act.checkPortal", about: "act.checkPortal.about" },
  rehearsePortal: { name: "act.rehearsePortal", about: "act.rehearsePortal.about" },
  startBatch: { name: "act.startBatch", about: "act.startBatch.about", done: "act.startBatch.done" },
  stopBatch: { name: "act.stopBatch", about: "act.stopBatch.about", done: "act.stopBatch.done" },
  pause: { name: "act.pause", about: "act.pause.about", done: "act.pause.done" },
  resume: { name: "act.resume", about: "act.resume.about", done: "act.resume.done" },
  recount: { name: "act.recount", about: "act.recount.about", done: "act.recount.done" },
  retryOutbox: { name: "act.retryOutbox", about: "act.retryOutbox.about", done: "act.retryOutbox.done" },
  addSilence: { name: "act.addSilence", about: "act.addSilence.about", done: "act.addSilence.done" },
  removeSilence: { name: "act.removeSilence", about: "act.removeSilence.about", done: "act.removeSilence.done" },
  pauseRollout: { name: "act.pauseRollout", about: "act.pauseRollout.about", done: "act.pauseRollout.done" },
  resumeRollout: { name: "act.resumeRollout", about: "act.resumeRollout.about", done: "act.resumeRollout.done" },
  promoteRollout: { name: "act.promoteRollout", about: "act.promoteRollout.about", done: "act.promoteRollout.done" },
  abortRollout: {
    ...{ name: "act.abortRollout", about: "act.abortRollout.about", done: "act.abortRollout.done" },
    isDangerous: true,
  },
} as const satisfies Partial<Record<RouteId, Action>>;

/** The id of an action. */
export type ActionId = keyof typeof ACTIONS;

/** Returns whether a text is the id of an action. */
export function isActionId(id: string): id is ActionId {
  return Object.hasOwn(ACTIONS, id);
}
