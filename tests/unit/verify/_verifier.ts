/** Verifiers of several processes over one storage in virtual time, with a plugin that a test answers for. */
import {
  B24Error,
  CannotVerifyError,
  coerced,
  memoryStorage,
  NotAuthenticError,
  type Observers,
  type Plugin,
  type Storage,
  type VerificationBudget,
  type VerificationPolicy,
} from "@b24/onappupdate";
import { createHash } from "node:crypto";
import { delay } from "../../../src/async/time.ts";
import { parseStored } from "../../../src/bitrix24/parse.ts";
import { createTracer } from "../../../src/plugin/tracer.ts";
import type { AppRuntime } from "../../../src/plugin/runtime.ts";
import type { FirstAttempt } from "../../../src/verify/first_attempts.ts";
import { createVerifier, type Verifier } from "../../../src/verify/verifier.ts";
import { quietLogger } from "../../support/app.ts";
import { type VirtualTime, virtualTime } from "../../support/time.ts";
import { withoutWrite } from "../../support/without_write.ts";

/** A question about an event that waits. */
export interface Question {
  readonly process: string;
  readonly memberId: string;
  readonly token: string;
  /** In milliseconds since 1970. */
  readonly at: number;
}

/** `"unanswered"`: no host answers. */
export type Answer = "authentic" | "forged" | "expired" | "unanswered";

/** One process of the vendor. */
export interface Process {
  readonly verifier: Verifier;
  /** Posts an event; resolves to the outcome of its first attempt. */
  readonly post: (memberId: string, event?: PostedEvent) => Promise<{ readonly firstAttempt: Promise<FirstAttempt> }>;
  /** Reports of observers about events, as `<member_id> <name>`. */
  readonly reports: readonly string[];
  /** Stops at once: what is under way never ends. */
  readonly crash: () => void;
}

export interface PostedEvent {
  readonly token?: string;
  readonly isKnown?: boolean;
  readonly clientAddress?: string;
  /** Characters of padding. */
  readonly padding?: number;
}

export interface VerifierWorld {
  readonly time: VirtualTime;
  readonly storage: Storage;
  readonly asked: readonly Question[];
  /** Refresh tokens that were exchanged. */
  readonly refreshed: readonly string[];
  /** Accepted events, as `<member_id> <access token>`. */
  readonly accepted: readonly string[];
  /** Portals of which an event was replaced. */
  readonly replaced: readonly string[];
  /** The answer to questions, after `latencyMs`. */
  answer: (question: Question) => Answer | Promise<Answer>;
  latencyMs: number;
  readonly process: (name: string, options?: { readonly turnMs?: number }) => Process;
  /** Lets time pass while the processes tick every ten seconds. */
  readonly elapse: (ms: number, processes: readonly Process[]) => Promise<void>;
  /** Returns the number of stored entries. */
  readonly entries: () => Promise<number>;
}

/** A budget that no test spends. */
const UNLIMITED: VerificationBudget = { perMinute: 100_000, perPortal: 100_000 };

export function verifierWorld(
  budget: VerificationBudget = UNLIMITED,
  others: Omit<VerificationPolicy, "budget"> = {},
): VerifierWorld {
  const time = virtualTime();
  const storage = memoryStorage({ clock: time.now });
  const [asked, refreshed, accepted, replaced] = [[] as Question[], [] as string[], [] as string[], [] as string[]];
  let count = 0;

  function process(name: string, { turnMs = 60_000 }: { readonly turnMs?: number } = {}): Process {
    const crashed = new AbortController();
    const reports: string[] = [];
    /** A crashed process does nothing more. */
    const unlessCrashed = <T>(work: Promise<T>): Promise<T> =>
      work.then((value) => crashed.signal.aborted ? new Promise<T>(() => {}) : value);
    const record = (observer: keyof Observers) => (report: object): void => {
      const { memberId, event, reason } = report as Record<string, string> & {
        event?: { auth?: { memberId: string } };
      };
      reports.push([memberId ?? event?.auth?.memberId, observer, reason ?? []].flat().join(" "));
    };
    const names = ["eventPostponed", "eventsDropped", "eventRejected", "duplicateReceived"] as const;
    const plugin: Plugin = {
      ...{ name: "answers", phase: "verify", verificationPolicy: { budget, ...others } },
      around: async ({ event: { auth } }, next) => {
        const question = { process: name, memberId: auth.memberId, token: auth.accessToken!.reveal(), at: time.now() };
        asked.push(question);
        if (made.latencyMs > 0) await delay(time, made.latencyMs);
        const answer = await unlessCrashed(Promise.resolve(made.answer(question)));
        if (answer === "authentic") return await next({});
        if (answer === "unanswered") throw new CannotVerifyError("no OAuth host answers");
        const code = answer === "expired" ? "expired_token" : "invalid_token";
        throw new NotAuthenticError(
          "refused",
          answer === "expired"
            ? { cause: new B24Error({ code, description: "", status: 401, method: "app.info" }) }
            : {},
        );
      },
      observe: Object.fromEntries(names.map((observer) => [observer, record(observer)])),
    };
    const shared: Storage = {
      ...withoutWrite(storage),
      get: (...args) => unlessCrashed(storage.get(...args)) as never,
      put: (...args) => crashed.signal.aborted ? new Promise(() => {}) : unlessCrashed(storage.put(...args)),
      delete: (...args) => crashed.signal.aborted ? new Promise(() => {}) : unlessCrashed(storage.delete(...args)),
    };
    const runtime: AppRuntime = {
      ...{ storage: shared, time, clock: time.now, versions: coerced(), log: quietLogger, retry: {} },
      tracer: createTracer([plugin], quietLogger),
      ...{ leaseMs: 30_000, retentionMs: 1000, canRefresh: true, handlers: new Map(), plugins: [plugin] },
      random: () => `${name}-${++count}`,
      fetch: () => Promise.reject(new TypeError("no host is called")),
      digest: (text) => Promise.resolve(createHash("sha256").update(text).digest("hex")),
      issuedTokens: () => [],
      signal: new AbortController().signal,
    };
    const verifier = createVerifier({
      ...{ runtime, oauthHosts: ["https://oauth.example"], turnMs },
      accept: ({ event: { auth } }) => {
        accepted.push(`${auth.memberId} ${auth.accessToken!.reveal()}`);
        reports.push(`${auth.memberId} eventReceived`);
        return Promise.resolve({});
      },
      refresh: async (refreshToken) => {
        refreshed.push(refreshToken.reveal());
        if (made.latencyMs > 0) await delay(time, made.latencyMs);
        const [number] = /\d+$/.exec(refreshToken.reveal()) ?? ["0"];
        const next = Number(number) + 1;
        return await unlessCrashed(Promise.resolve({
          ...{ memberId: "", scope: [], server: "https://oauth.example", expiresAt: time.now() + 3_600_000 },
          ...{ accessToken: `access-${next}`, refreshToken: `refresh-${next}` },
        }));
      },
      onReplaced: (memberId) => void replaced.push(memberId),
      onRefused: () => {},
      onInboxFull: () => {},
    });
    return {
      verifier,
      post: async (memberId, { token = "access-0", isKnown = false, padding = 0, ...address } = {}) => {
        const text = new URLSearchParams({
          ...{ event: "ONAPPUPDATE", ts: String(Math.floor(time.now() / 1000)), "data[VERSION]": "3" },
          ...{ "auth[member_id]": memberId, "auth[domain]": "example.bitrix24.de", "auth[access_token]": token },
          "auth[application_token]": "f".repeat(32),
          ...{ "auth[refresh_token]": "refresh-0", "auth[expires]": String(Math.floor(time.now() / 1000)) },
          padding: "x".repeat(padding),
        }).toString();
        return await verifier.postpone({ ...parseStored({ kind: "form", text }, time.now()), ...address }, isKnown);
      },
      reports,
      crash: () => crashed.abort(),
    };
  }

  const made: VerifierWorld = {
    ...{ time, storage, asked, refreshed, accepted, replaced, process },
    answer: () => "authentic",
    latencyMs: 0,
    elapse: async (ms, processes) => {
      for (let passed = 0; passed < ms; passed += 10_000) {
        await time.elapse(Math.min(10_000, ms - passed));
        for (const { verifier } of processes) await verifier.tick();
      }
      await time.elapse(0);
    },
    entries: async () => (await Array.fromAsync(storage.list([]))).length,
  };
  return made;
}

/** Returns the `member_id` of a made-up portal. */
export function memberIdOf(number: number): string {
  return number.toString(16).padStart(32, "0");
}
