/** What sends the events of fake portals to an app: once, as Bitrix24 does, or as a test wants it to go wrong. */
import { wireNameOf } from "./event.ts";
import type { PortalState } from "./state.ts";

/** Where events are sent: an app, or the address of one. */
export type FakeHandler = ((request: Request) => Promise<Response>) | string | URL;

/** What becomes of an event on its way. */
export interface FakeDelivery {
  /** It is never sent; what it tells of has happened all the same. */
  readonly lose?: boolean;
  /** It is sent so many times more. */
  readonly duplicate?: number;
  /** It is sent after the next one of its portal. */
  readonly reorder?: boolean;
}

/** An event, and what became of it. */
export interface FakeSent {
  /** Of the portal. */
  readonly memberId: string;
  /** Name on the wire, such as `ONAPPUPDATE`. */
  readonly event: string;
  /** `data[VERSION]`, where it has one. */
  readonly version?: string;
  /**
   * `answered`; `failed`: nobody answered; `lost` on purpose; `silenced`, as Bitrix24 does with events before
   * `installFinish`, and of apps whose paid period is over.
   */
  readonly outcome: "answered" | "failed" | "lost" | "silenced";
  /** HTTP status of the answer. */
  readonly status?: number;
}

/** Sends, and remembers what became of it. */
export interface Sender {
  /** The statuses of what was sent now: none, more than one, or also those of events that were held back. */
  readonly send: (portal: PortalState, body: string, delivery?: FakeDelivery) => Promise<readonly number[]>;
  readonly sent: () => readonly FakeSent[];
  /** Changes where events go. */
  readonly deliverTo: (handler: FakeHandler) => void;
}

/** Are sent whether or not the installation is finished and the app is paid for. */
const ALWAYS = new Set(["ONAPPINSTALL", "ONAPPUNINSTALL", "ONAPPPAYMENT"]);

const FORM = "application/x-www-form-urlencoded";

/** A sender that has nothing to send to, until it is told. */
export function createSender(first: FakeHandler | undefined): Sender {
  let handler = first;
  const sent: FakeSent[] = [];
  const held = new Map<PortalState, string[]>();

  async function once({ memberId }: PortalState, body: string): Promise<number[]> {
    const about = { memberId, ...wireNameOf(body) };
    if (handler === undefined) {
      throw new TypeError("cannot send an event to nobody, wanted a handler in fakeBitrix24() or deliverTo()");
    }
    const init = { method: "POST", body, headers: { "content-type": FORM } };
    try {
      const response =
        await (typeof handler === "function" ? handler(new Request("http://localhost/", init)) : fetch(handler, init));
      await response.body?.cancel();
      sent.push({ ...about, outcome: "answered", status: response.status });
      return [response.status];
    } catch {
      sent.push({ ...about, outcome: "failed" });
      return [];
    }
  }

  return {
    sent: () => [...sent],
    deliverTo: (next) => void (handler = next),
    send: async (portal, body, { lose = false, duplicate = 0, reorder = false } = {}) => {
      const about = { memberId: portal.memberId, ...wireNameOf(body) };
      const isInWizard = portal.hasWizard && !portal.isFinished && about.event !== "ONAPPUNINSTALL";
      const isSilent = isInWizard || (!ALWAYS.has(about.event) && (!portal.isFinished || !portal.isPaid));
      if (lose || isSilent) {
        sent.push({ ...about, outcome: lose ? "lost" : "silenced" });
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
      for (const each of [...bodies, ...waiting]) statuses.push(...await once(portal, each));
      return statuses;
    },
  };
}
