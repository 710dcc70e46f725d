/** From a request to its answer: accept the event, schedule a check of its portal, start its work, acknowledge it. */
import { createDeadline } from "../async/deadline.ts";
import type { InFlight } from "../async/in_flight.ts";
import { settlesWithin } from "../async/with_timeout.ts";
import { wireName } from "../bitrix24/events.ts";
import { checkOptions, option } from "../check_options.ts";
import { CannotVerifyError, InboxFullError, InputError } from "../errors.ts";
import type { Incoming } from "../bitrix24/parse.ts";
import { acceptEvent } from "../intake/accept.ts";
import { createAddressReader } from "../intake/client_address.ts";
import type { LogFullInbox } from "../intake/full_inbox.ts";
import { type Dispatcher, isOtherMethod, isOutage, isUnexpected, refuse, respond } from "../intake/http.ts";
import { type AppRuntime, notify, safeError } from "../plugin/runtime.ts";
import type { Checks } from "../worker/checks.ts";
import type { FirstAttempt } from "../verify/first_attempts.ts";
import type { Verifier } from "../verify/verifier.ts";
import type { Worker } from "../worker/worker.ts";
import { assertMayStart } from "./inert.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { Settings } from "./settings.ts";

/** The parts of an app that a request passes through. */
export interface DispatchOptions extends Pick<Settings, "limits" | "acknowledge" | "clientAddress" | "healthPath"> {
  readonly runtime: AppRuntime;
  readonly verifier: Verifier;
  readonly worker: Worker;
  readonly checks: Checks;
  readonly lifecycle: Lifecycle;
  /** The requests that are not answered yet. */
  readonly requests: InFlight;
  readonly logFullInbox: LogFullInbox;
}

/** Answers one request. `platform` is what the host passes besides it. */
export type Dispatch = (request: Request, ...platform: unknown[]) => Promise<Response>;

/** Returns the function behind `app.fetch`. */
export function createDispatch(options: DispatchOptions): Dispatch {
  const { runtime, limits, acknowledge, verifier, worker, checks, lifecycle, requests, logFullInbox } = options;
  const { clock, time, log, tracer } = runtime;

  /** Answers about events that observers know of: the verifier reports their outcome. */
  const reported = new WeakSet<Error>();

  async function accept(incoming: Incoming, platform: readonly unknown[]): Promise<void> {
    const { event } = incoming;
    const accepted = await acceptEvent(runtime, incoming, {
      verifier,
      reserve: worker.reserve,
      // It may be authentic, with a token that the app does not know: an update without an access token.
      onRefused: (memberId) => keepAlive(platform, checks.afterRefused(memberId)),
    });
    if (accepted.state === "unverified") {
      return await awaitVerification(accepted.firstAttempt, event.auth.memberId, platform);
    }
    keepAlive(platform, checks.afterEvent(event));
    if (accepted.state === "done") return;
    const { result, end } = worker.work(accepted.delivery);
    keepAlive(platform, end);
    if (result !== undefined) await waitFor(result, event.auth.memberId);
  }

  /** Waits until `work` ends, but no longer than a sender may wait for its answer. */
  async function waitFor(work: Promise<unknown>, memberId: string): Promise<void> {
    const { acknowledgeMs } = limits;
    if (await settlesWithin(time, work, acknowledgeMs)) return;
    const hint = "the work goes on after the answer; in a test, await app.settled(), or raise limits.acknowledgeMs";
    log.warn("request answered before its work ended: limits.acknowledgeMs is over", {
      ...{ event: "request.acknowledge_timeout", memberId, acknowledgeMs, hint },
    });
  }

  /**
   * With `acknowledge: "handled"`, the answer tells what became of the first attempt; the event is stored in any case.
   *
   * @throws {NotAuthenticError} if the event was refused
   * @throws {CannotVerifyError} if it is not verified yet
   */
  async function awaitVerification(
    firstAttempt: Promise<FirstAttempt>,
    memberId: string,
    platform: readonly unknown[],
  ): Promise<void> {
    keepAlive(platform, firstAttempt.then((attempt) => attempt.state === "accepted" ? attempt.end : undefined));
    if (acknowledge !== "handled") return;
    const settled: { attempt?: FirstAttempt } = {};
    await waitFor(firstAttempt.then((attempt) => settled.attempt = attempt), memberId);
    const { attempt } = settled;
    if (attempt === undefined || attempt.state === "waiting") {
      const pending = new CannotVerifyError("the event is stored, and is not verified yet");
      reported.add(pending);
      throw pending;
    }
    if (attempt.state === "refused") {
      reported.add(attempt.error);
      throw attempt.error;
    }
    if (attempt.result !== undefined) await waitFor(attempt.result, memberId);
  }

  const report = createRejectionReport(runtime, logFullInbox);

  const dispatcher: Dispatcher = {
    ...{ limits, healthPath: options.healthPath },
    bodyDeadline: createDeadline(time, limits.bodyTimeoutMs),
    clock,
    clientAddress: createAddressReader(options.clientAddress, log),
    accept,
    reportRejection: (status, thrown, event) => {
      if (!reported.has(thrown)) report(status, thrown, event);
    },
  };

  async function startAndRespond(request: Request, platform: readonly unknown[]): Promise<Response> {
    if (lifecycle.isClosed()) return refuse(request);
    try {
      await lifecycle.start();
    } catch (err) {
      log.error("app cannot start", { event: "app.start_failed", err });
      return refuse(request);
    }
    return await requests.track(respond(dispatcher, request, platform));
  }

  return async (request, ...platform) => {
    assertRequest("cannot answer", request);
    assertMayStart("answer a request");
    return await tracer.trace({ kind: "request", request }, async (note) => {
      const response = await (lifecycle.isRunning()
        ? requests.track(respond(dispatcher, request, platform))
        : startAndRespond(request, platform));
      note(() => ({ status: response.status }));
      return response;
    });
  };
}

const requestRule = option.required(
  option.value("a Request of the Fetch API, as routers for it pass it; for Node, serve() makes one", (request) => {
    const { url, headers } = Object(request);
    return typeof url === "string" && typeof Object(headers).get === "function";
  }),
);

/** @throws {TypeError} if `request` is not a `Request`, such as the request of Node's servers */
export function assertRequest(action: string, request: Request): void {
  checkOptions(action, { request }, { request: requestRule });
}

/** Returns the function that logs a refused request, and notifies observers of it. */
function createRejectionReport(runtime: AppRuntime, logFullInbox: LogFullInbox): Dispatcher["reportRejection"] {
  const { log } = runtime;
  return (status, thrown, event) => {
    // Issues never contain tokens, and the redacted copy would lose them.
    const error = event === undefined || thrown instanceof InputError ? thrown : safeError(runtime, thrown, event);
    const claimed = event && { memberId: event.auth.memberId, eventName: wireName(event) };
    const fields = { status, ...claimed, err: error };
    if (thrown instanceof InboxFullError && event !== undefined) logFullInbox(thrown, event);
    else {
      log[levelOf(status, error)]("request refused", { event: "request.refused", ...fields });
    }
    notify(runtime, "eventRejected", {
      status,
      error,
      ...claimed && { memberId: claimed.memberId, event: claimed.eventName },
    });
  };
}

function levelOf(status: number, error: Error): "error" | "warn" | "info" | "debug" {
  if (isOtherMethod(error)) return "debug";
  return isUnexpected(error) && status === 503 ? "error" : isOutage(error) ? "warn" : "info";
}

/** Passes work that continues after the answer to hosts that would stop the program otherwise. */
export function keepAlive(platform: readonly unknown[], work: Promise<unknown> | undefined): void {
  if (work === undefined) return;
  for (const host of platform) {
    const waitUntil = (host as { waitUntil?: unknown } | null | undefined)?.waitUntil;
    if (typeof waitUntil !== "function") continue;
    try {
      waitUntil.call(host, work);
    } catch {
      // The host no longer takes work. What is stored must be answered and worked on all the same.
    }
  }
}
