/**
 * Gives handlers the official JavaScript SDK of Bitrix24 for the portal of their event: adds `b24sdk` to every context.
 * The SDK, `@bitrix24/b24jssdk` from 2.2, is yours to install and to pass in.
 *
 * @module
 */
import type { Context, Plugin, PluginHost } from "../mod.ts";
import { signedFetch } from "./b24jssdk/fetch.ts";
import {
  assertClass,
  authOf,
  type Sdk,
  type SdkAuth,
  type SdkClass,
  type SdkHttp,
  type SdkLogger,
  type SdkSecret,
  type SdkSettings,
  SETTINGS,
  SILENT,
  WORD,
} from "./b24jssdk/sdk.ts";
import { takeOver } from "./b24jssdk/takeover.ts";

export type { Sdk, SdkAuth, SdkClass, SdkHttp, SdkLogger, SdkSecret, SdkSettings };

/** What {@linkcode b24jssdk} adds to a context. */
export interface HasB24Sdk<S extends Sdk = Sdk> {
  /**
   * The SDK of the event's portal, the same one each time. Made at the first call, and destroyed after the event: what
   * it is asked then rejects.
   *
   * Its calls reject with the SDK's own errors, whose `cause` is a {@linkcode B24Error} where the handler's portal has to
   * wait; and, like this function, with the following.
   *
   * @throws {NoCredentialsError} when there is no token to call the portal with
   * @throws {UnreachableError} when the portal does not answer
   * @throws {AddressError} when the portal is, or has moved to, where no token may go
   * @throws {B24Error} when the portal refuses also a renewed token, answers what cannot be read, or must not be asked again
   */
  readonly b24sdk: () => Promise<S>;
}

/** Options of {@linkcode b24jssdk}. */
export interface B24JsSdkOptions<S extends Sdk> {
  /** The class of that name, of `@bitrix24/b24jssdk`, or one that extends it. */
  readonly B24OAuth: SdkClass<S>;
  /** Prepares each SDK before it is used: for limits of an Enterprise portal, a logger, or a time-out other than 70 seconds. */
  readonly configure?: (sdk: S, memberId: string) => void | Promise<void>;
}

/**
 * Adds `b24sdk()` to every context: an instance of your `B24OAuth` for the event's portal. Nothing is read and nothing
 * requested before it is called.
 *
 * The SDK never has a token: the access token is put in as a request goes out, by `host.access`, which renews it for one
 * process at a time and stores it before it is used. Requests go through `host.portalFetch`: to the portal's REST only, and
 * redirects are followed only to where the portal has moved. Calls that were cut off are not repeated, since they
 * may have been done; `configure` can set the SDK's `retryOnNetworkError`.
 *
 * @throws {TypeError} when `B24OAuth` lacks what is used of it
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
export function b24jssdk<S extends Sdk>({ B24OAuth, configure }: B24JsSdkOptions<S>): Plugin<object, HasB24Sdk<S>> {
  assertClass(B24OAuth);
  let host: PluginHost | undefined;
  const ends = new WeakMap<HasB24Sdk<S>["b24sdk"], () => Promise<void>>();

  async function open(memberId: string, signal: AbortSignal): Promise<S> {
    const access = await host!.credentials.get(memberId, { signal });
    const sdk = new B24OAuth(authOf(memberId, access), { clientId: WORD, clientSecret: WORD }, SETTINGS);
    sdk.setLogger(SILENT);
    takeOver(sdk, signedFetch(host!, memberId, access, signal), signal);
    await configure?.(sdk, memberId);
    return sdk;
  }

  function extend({ event, signal }: Context): HasB24Sdk<S> {
    const { memberId } = event.auth;
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    let made: Promise<S> | undefined;
    const b24sdk = (): Promise<S> => {
      if (made !== undefined) return made;
      if (either.aborted) return Promise.reject(either.reason);
      const opened = made = open(memberId, either);
      // It can be asked for again.
      opened.catch(() => made = undefined);
      return opened;
    };
    ends.set(b24sdk, async () => {
      over.abort(new Error(`cannot use the SDK of portal ${memberId} any more: its event is over`));
      try {
        (await made?.catch(() => undefined))?.destroy();
      } catch (error) {
        host!.log.warn("an SDK could not be destroyed", { memberId, error });
      }
    });
    return { b24sdk };
  }

  return {
    name: "b24jssdk",
    adds: ["b24sdk"],
    setup: (given) => {
      host = given;
    },
    extend,
    around: async ({ b24sdk }, next) => {
      try {
        await next();
      } finally {
        await ends.get(b24sdk)!();
      }
    },
  };
}
