/**
 * The official JavaScript SDK of Bitrix24 in handlers, for the portal of their event: adds `b24sdk` to every context. You
 * install the SDK, `@bitrix24/b24jssdk` 2.2 or later, and pass it in.
 *
 * @module
 */
import {
  type AnswerLimits,
  checkOptions,
  type Context,
  option,
  type Plugin,
  type PluginHost,
  rehearsalSnapshot,
} from "../mod.ts";
import { signedFetch } from "./b24jssdk/fetch.ts";
import {
  assertClass,
  authOf,
  PLACEHOLDER,
  type Sdk,
  SDK_SETTINGS,
  type SdkAuth,
  type SdkClass,
  type SdkHttp,
  type SdkLogger,
  type SdkSecret,
  type SdkSettings,
  SILENT,
} from "./b24jssdk/sdk.ts";
import { takeOver } from "./b24jssdk/takeover.ts";

export type { Sdk, SdkAuth, SdkClass, SdkHttp, SdkLogger, SdkSecret, SdkSettings };

/** The members that {@linkcode b24jssdk} adds to a context. */
export interface HasB24Sdk<S extends Sdk = Sdk> {
  /**
   * Returns the SDK of the event's portal, the same one each time. It is created at the first call, and destroyed after
   * the event; its calls then reject.
   *
   * The SDK's calls reject with the SDK's own errors, whose `cause` is a {@linkcode B24Error} if the portal is blocked on
   * something. Like this function, they also reject with the following errors.
   *
   * @throws {NoCredentialsError} if no token of the portal can be used, or if the portal's license has ended
   * @throws {UnreachableError} if the portal does not answer
   * @throws {AddressError} if the portal is at, or has moved to, an address that may not be called
   * @throws {B24Error} if the portal refuses a refreshed token too, sends an unreadable answer, or must not be called again
   */
  readonly b24sdk: () => Promise<S>;
}

/** Options of {@linkcode b24jssdk}. */
export interface B24JsSdkOptions<S extends Sdk> extends AnswerLimits {
  /** The class `B24OAuth` of `@bitrix24/b24jssdk`, or a class that extends it. */
  readonly B24OAuth: SdkClass<S>;
  /**
   * Prepares each SDK before it is used: for the limits of an Enterprise portal, a logger, or a timeout other than 70
   * seconds.
   */
  readonly configure?: (sdk: S, memberId: string) => void | Promise<void>;
}

/**
 * Adds `b24sdk()` to every context: an instance of your `B24OAuth` for the event's portal. Before it is called, nothing is
 * read and nothing is requested.
 *
 * The SDK never has a token. The access token is added when a request is sent, by `host.credentials`, which refreshes it
 * in one process at a time and stores it before it is used. Requests are sent by `host.portalFetch`, to the portal's REST
 * API only, and redirects are followed only to the portal's own new address. A call that was cut off may have taken effect
 * and is not repeated; `configure` can set the SDK's `retryOnNetworkError`.
 *
 * @throws {TypeError} if an option is unknown or invalid, or `B24OAuth` lacks a function that is used
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import { b24jssdk } from "@b24/onappupdate/b24jssdk";
 * import { B24OAuth } from "@bitrix24/b24jssdk";
 *
 * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a", clientSecret: "…" })
 *   .use(applicationToken())
 *   .use(b24jssdk({ B24OAuth }))
 *   .upgrade("2.0.0", async ({ b24sdk, step }) => {
 *     await step("field", async () => {
 *       const { actions } = await b24sdk();
 *       const params = { fields: { FIELD_NAME: "RATING", USER_TYPE_ID: "integer" } };
 *       const answer = await actions.v2.call.make({ method: "crm.deal.userfield.add", params });
 *       if (!answer.isSuccess) throw new Error(answer.getErrorMessages().join("; "));
 *     });
 *   });
 * await app.close();
 * ```
 */
export function b24jssdk<S extends Sdk>(options: B24JsSdkOptions<S>): Plugin<object, HasB24Sdk<S>> {
  checkOptions<B24JsSdkOptions<S>>("cannot use the SDK", options, {
    B24OAuth: option.required(option.function("the class B24OAuth of @bitrix24/b24jssdk")),
    configure: option.function(),
    answerBytes: option.number({ min: 1, max: Infinity }),
    answerContainers: option.number({ min: 1, max: Infinity }),
  });
  const { B24OAuth, configure } = options;
  assertClass(B24OAuth);
  let host: PluginHost | undefined;
  const destroyers = new WeakMap<HasB24Sdk<S>["b24sdk"], () => Promise<void>>();

  async function create(memberId: string, signal: AbortSignal, here: ReturnType<typeof rehearsalSnapshot>): Promise<S> {
    const credentials = await host!.credentials.get(memberId, { signal });
    const secret = { clientId: PLACEHOLDER, clientSecret: PLACEHOLDER };
    const sdk = new B24OAuth(authOf(memberId, credentials), secret, SDK_SETTINGS);
    sdk.setLogger(SILENT);
    const root = new URL(credentials.clientEndpoint).href;
    const signed = signedFetch({ host: host!, memberId, root, over: signal, limits: options });
    takeOver(sdk, (...request) => here(() => signed(...request)), signal);
    await configure?.(sdk, memberId);
    return sdk;
  }

  function extend({ event, signal }: Context): HasB24Sdk<S> {
    const { memberId } = event.auth;
    const over = new AbortController();
    const here = rehearsalSnapshot();
    const either = AbortSignal.any([signal, over.signal]);
    let created: Promise<S> | undefined;
    const b24sdk = (): Promise<S> => {
      if (created !== undefined) return created;
      if (either.aborted) return Promise.reject(either.reason);
      const creating = created = here(() => create(memberId, either, here));
      // The next call tries again.
      creating.catch(() => created = undefined);
      return creating;
    };
    destroyers.set(b24sdk, async () => {
      over.abort(new Error(`cannot use the SDK of portal ${memberId}: its event is over`));
      try {
        (await created?.catch(() => undefined))?.destroy();
      } catch (err) {
        host!.log.warn("SDK not destroyed", { event: "b24jssdk.destroy_failed", memberId, err });
      }
    });
    return { b24sdk };
  }

  return {
    name: "b24jssdk",
    adds: ["b24sdk"],
    setup: (appHost) => {
      host = appHost;
    },
    extend,
    rehearsal: true,
    around: async ({ b24sdk }, next) => {
      try {
        await next();
      } finally {
        await destroyers.get(b24sdk)!();
      }
    },
  };
}
