/** A stand-in for Bitrix24: a fake Bitrix24 with the portals of a developer, which sends events to an app over HTTP. */
import { CLIENT_ID } from "../../net/stand_in.ts";
import { createFake, type FakeBitrix24 } from "../../testing/bitrix24/bitrix24.ts";
import type { FakePortal } from "../../testing/bitrix24/portal.ts";
import { restoreWorld, type SavedWorld, saveWorld } from "../../testing/bitrix24/saved.ts";
import type { FakeDelivery } from "../../testing/bitrix24/sender.ts";
import type { FakeOutage } from "../../testing/bitrix24/state.ts";
import { cut } from "../text.ts";
import { describedCall } from "./calls.ts";
import { maskTokens } from "./mask.ts";
import { type CallEntry, createTranscript, type SentEntry, type Transcript } from "./transcript.ts";

/** Options of {@linkcode createStandIn}. */
export interface StandInOptions {
  readonly clientId: string;
  readonly clientSecret?: string;
  /** The URL that events are sent to. */
  readonly events: string;
  /** The URL that openings are sent to. */
  readonly page: string;
  /** The portals of an earlier run; one portal without the app by default. */
  readonly saved?: SavedWorld | undefined;
  /** Rows of list methods and results of other methods, by name. */
  readonly answers?: Readonly<Record<string, unknown>> | undefined;
  /** Sends events; the `fetch` of the runtime by default. */
  readonly fetch?: (url: string, init?: RequestInit) => Promise<Response>;
}

/** A stand-in. */
export interface StandIn {
  readonly clientId: string;
  readonly clientSecret: string | undefined;
  readonly events: string;
  readonly page: string;
  readonly transcript: Transcript;
  readonly fake: FakeBitrix24;
  /** Answers a call of the app, with the delay of `slow()`. */
  readonly answer: (request: Request) => Promise<Response>;
  readonly portals: () => readonly FakePortal[];
  /** The portal that commands act on. */
  readonly selected: () => FakePortal;
  readonly select: (portal: FakePortal) => void;
  /** Adds a portal and selects it. */
  readonly addPortal: (domain?: string) => FakePortal;
  /** Makes the next event differ from an ordinary delivery. Each call adds to it. */
  readonly nextDelivery: (delivery: FakeDelivery) => void;
  /** Runs `send` with the delivery that was asked for, and notes what was withheld. */
  readonly sendEvent: (send: (delivery: FakeDelivery) => Promise<unknown>) => Promise<void>;
  /** Posts a body to the app as it is, and adds it to the transcript. Resolves to the answer; throws if there is none. */
  readonly post: (sent: Pick<SentEntry, "name" | "url" | "body"> & Partial<SentEntry>) => Promise<Response>;
  /** Takes the OAuth hosts down until it is called without a kind. */
  readonly outage: (kind?: FakeOutage) => void;
  /** Delays every answer by this many milliseconds. */
  readonly slow: (ms: number) => void;
  /** Returns what is not as usual. */
  readonly state: () => { readonly outage?: FakeOutage; readonly slowMs: number; readonly next: FakeDelivery };
  readonly save: () => SavedWorld;
}

/** The limit of Bitrix24's usual plans. */
const RATE_LIMIT = { bucket: 50, perSecond: 2 };
const MAX_ANSWER = 4000;
const POST_TIMEOUT_MS = 60_000;

/** Creates a stand-in. It opens no socket. */
export function createStandIn(options: StandInOptions): StandIn {
  const { clientId, clientSecret, events, page, answers = {} } = options;
  const fetch = options.fetch ?? globalThis.fetch;
  const transcript = createTranscript(Date.now);
  const { fake, world, sender } = createFake({
    ...{ clientId, clock: Date.now, rateLimit: RATE_LIMIT },
    ...(clientSecret === undefined ? {} : { clientSecret }),
    handler: async (request) => {
      const body = await request.text();
      return await post({ name: new URLSearchParams(body).get("event") ?? "", url: events, body });
    },
  });
  const portals: FakePortal[] = [];
  let selected: FakePortal;
  let outage: FakeOutage | undefined;
  let slowMs = 0;
  let next: FakeDelivery = {};
  let withheld = 0;

  function adopt(portal: FakePortal): FakePortal {
    portals.push(portal);
    for (const [method, answer] of Object.entries(answers)) {
      if (Array.isArray(answer)) portal.data(method, answer);
      else portal.answer(method, () => answer);
    }
    return portal;
  }

  function addPortal(domain = freeDomain(portals)): FakePortal {
    return selected = adopt(fake.portal({ memberId: newMemberId(), domain, scope: SCOPE }));
  }

  async function post(sent: Parameters<StandIn["post"]>[0]): Promise<Response> {
    const form = new URLSearchParams(sent.body);
    const memberId = form.get("auth[member_id]") ?? form.get("member_id") ?? "";
    const detail = form.get("data[VERSION]");
    const { id, at } = transcript.add({
      kind: "sent",
      memberId,
      domain: portals.find((portal) => portal.memberId === memberId)?.domain ?? form.get("auth[domain]") ?? "",
      ...(detail === null ? {} : { detail }),
      ...sent,
    });
    try {
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      const response = await fetch(sent.url, {
        ...{ method: "POST", body: sent.body, headers, redirect: "manual" },
        signal: AbortSignal.timeout(POST_TIMEOUT_MS),
      });
      const answer = cut(maskTokens(await response.clone().text()), MAX_ANSWER);
      transcript.complete(id, { outcome: "answered", status: response.status, ms: Date.now() - at, answer });
      return response;
    } catch (error) {
      const answer = maskTokens(causeOf(error));
      transcript.complete(id, { outcome: "failed", ms: Date.now() - at, answer });
      throw error;
    }
  }

  /** Notes the events that the fake Bitrix24 has not sent since the last time. */
  function noteWithheld(): void {
    const lost = fake.events().filter(({ outcome }) => outcome === "lost" || outcome === "silenced");
    for (const { event, memberId, version, outcome } of lost.slice(withheld)) {
      const state = portals.find((portal) => portal.memberId === memberId)?.state();
      transcript.add({
        ...{ kind: "sent", name: event, memberId, url: events, body: "", outcome: "withheld" },
        domain: state?.domain ?? "",
        ...(version === undefined ? {} : { detail: version }),
        remark: outcome === "lost"
          ? "lost"
          : state?.finished === false
          ? "the installation is not finished: open, then finish"
          : "the app is not paid for: payment on",
      });
    }
    withheld = lost.length;
  }

  /** Notes that an app asks about a token with another `client_id`: it refuses the event, and only its own log says so. */
  function noteOtherApp(request: Request, { method }: CallEntry): void {
    const header = request.headers.get(CLIENT_ID);
    if (method !== "app.info" || header === null || header === encodeURIComponent(clientId)) return;
    const seen = cut(new URLSearchParams(`id=${header}`).get("id") ?? "", 100);
    const text = `the app has CLIENT_ID ${seen}, so it refuses what is sent here: set CLIENT_ID=${clientId}, ` +
      `or start this with --client-id ${seen}`;
    transcript.add({ kind: "note", text });
  }

  if (options.saved !== undefined) {
    restoreWorld(world, sender, options.saved, { rateLimit: RATE_LIMIT }).forEach(adopt);
  }
  selected = portals.at(-1) ?? addPortal();

  return {
    ...{ clientId, clientSecret, events, page, transcript, fake, post, addPortal },
    answer: (request) =>
      describedCall(request, async (request) => {
        await pause(slowMs, request.signal);
        return await fake.fetch(request);
      }, {
        now: Date.now,
        onCall: (call) => {
          transcript.add(call);
          noteOtherApp(request, call);
        },
      }),
    portals: () => portals,
    selected: () => selected,
    select: (portal) => void (selected = portal),
    nextDelivery: (delivery) => void (next = { ...next, ...delivery }),
    sendEvent: async (send) => {
      const delivery = next;
      next = {};
      await send(delivery);
      noteWithheld();
      if (delivery.reorder === true) {
        transcript.add({ kind: "note", text: "held back: the event is sent after the next one of this portal" });
      }
    },
    outage: (kind) => {
      outage = kind;
      fake.outage(kind);
    },
    slow: (ms) => void (slowMs = ms),
    state: () => ({ ...(outage !== undefined && { outage }), slowMs, next }),
    save: () => saveWorld(world),
  };
}

const SCOPE = ["crm", "task", "user_brief", "placement", "bizproc", "im", "imbot", "messageservice", "userfieldconfig"];

/** Names under `example.com` belong to nobody, so nothing is called by mistake once the app runs without the stand-in. */
function freeDomain(portals: readonly FakePortal[]): string {
  let number = portals.length + 1;
  while (portals.some(({ domain }) => domain === `portal${number}.example.com`)) number++;
  return `portal${number}.example.com`;
}

/** Other than those of earlier runs, which the app may remember. */
export function newMemberId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(15));
  return `de${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Returns why the app did not answer. */
function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error as { readonly cause?: { readonly message?: string; readonly code?: string } };
  const text = [error.message, cause?.code, cause?.message].filter(Boolean).join(": ");
  if (/ECONNREFUSED|connection refused/i.test(text)) return "nothing listens at this address: is the app running?";
  return error.name === "TimeoutError" ? `the app has not answered within ${POST_TIMEOUT_MS / 1000} s` : text;
}

/** Resolves after `ms` milliseconds; rejects if the request is aborted before. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms === 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
