/** Sends the events of fake portals to an app: once, as Bitrix24 does, or with the faults that a test asks for. */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { describeBody } from "./event.ts";
import type { PortalState } from "./state.ts";

/** The receiver of events: the `fetch` of an app, or its URL. */
export type FakeHandler = ((request: Request) => Promise<Response>) | string | URL;

/** The rules of a receiver. */
export const HANDLER_RULES: OptionRules<{ readonly handler: FakeHandler }> = {
  handler: option.value(
    "the fetch of an app, or its URL",
    (handler) => typeof handler === "function" || handler instanceof URL || URL.canParse(String(handler)),
  ),
};

/** Faults in the delivery of an event. */
export interface FakeDelivery {
  /** The event is not sent, although the portal has changed. */
  readonly lose?: boolean;
  /** Number of extra times the event is sent. A whole number. Minimum: 0. */
  readonly duplicate?: number;
  /** The event is sent after the next one of its portal. */
  readonly reorder?: boolean;
}

/** The rules of {@linkcode FakeDelivery}. */
export const DELIVERY_RULES: OptionRules<FakeDelivery> = {
  lose: option.flag(),
  duplicate: option.number({ min: 0, isWhole: true }),
  reorder: option.flag(),
};

/** An event and its outcome. */
export interface FakeSent {
  /** `member_id` of the portal. */
  readonly memberId: string;
  /** Name on the wire, such as `ONAPPUPDATE`. */
  readonly event: string;
  /** `data[VERSION]` of the event; absent if it has none. */
  readonly version?: string;
  /**
   * `answered`; `failed`: the app did not answer; `lost`: on purpose; `silenced`: not sent, because the installation is
   * unfinished or the paid period is over.
   */
  readonly outcome: "answered" | "failed" | "lost" | "silenced";
  /** HTTP status of the answer. */
  readonly status?: number;
}

/** Sends events, and records their outcomes. */
export interface Sender {
  /** Resolves to the statuses of all sent copies, and of events that were held back until now. */
  readonly send: (portal: PortalState, body: string, delivery?: FakeDelivery) => Promise<readonly number[]>;
  readonly sent: () => readonly FakeSent[];
  /** Changes the receiver of events. */
  readonly deliverTo: (handler: FakeHandler) => void;
}

/** Events that are sent even if the installation is unfinished or the app is not paid for. */
const ALWAYS = new Set(["ONAPPINSTALL", "ONAPPUNINSTALL", "ONAPPPAYMENT"]);

const FORM = "application/x-www-form-urlencoded";

/** Creates a sender. Without a receiver, sending throws. */
export function createSender(first: FakeHandler | undefined): Sender {
  let handler = first;
  const sent: FakeSent[] = [];
  const held = new Map<PortalState, string[]>();

  async function post({ memberId }: PortalState, body: string): Promise<number[]> {
    const report = { memberId, ...describeBody(body) };
    if (handler === undefined) {
      throw new TypeError("cannot send an event without a receiver, wanted `handler` of fakeBitrix24() or deliverTo()");
    }
    const init = { method: "POST", body, headers: { "content-type": FORM } };
    try {
      const response =
        await (typeof handler === "function" ? handler(new Request("http://localhost/", init)) : fetch(handler, init));
      await response.body?.cancel();
      sent.push({ ...report, outcome: "answered", status: response.status });
      return [response.status];
    } catch {
      sent.push({ ...report, outcome: "failed" });
      return [];
    }
  }

  return {
    sent: () => [...sent],
    deliverTo: (next) => {
      checkOptions("cannot deliver events", { handler: next }, HANDLER_RULES);
      handler = next;
    },
    send: async (portal, body, delivery = {}) => {
      checkOptions("cannot send an event", delivery, DELIVERY_RULES);
      const { lose = false, duplicate = 0, reorder = false } = delivery;
      const report = { memberId: portal.memberId, ...describeBody(body) };
      const isInWizard = portal.hasWizard && !portal.isFinished && report.event !== "ONAPPUNINSTALL";
      const isSilent = isInWizard || (!ALWAYS.has(report.event) && (!portal.isFinished || !portal.isPaid));
      if (lose || isSilent) {
        sent.push({ ...report, outcome: lose ? "lost" : "silenced" });
        return [];
      }
      const bodies = Array.from({ length: 1 + duplicate }, () => body);
      const waiting = held.get(portal) ?? [];
      if (reorder) {
        held.set(portal, [...waiting, ...bodies]);
        return [];
      }
      held.delete(portal);
      const statuses: number[] = [];
      for (const next of [...bodies, ...waiting]) statuses.push(...await post(portal, next));
      return statuses;
    },
  };
}
